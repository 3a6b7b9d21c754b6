"""Owns access logs: nginx combined with the request time, or JSON lines -> busy intervals (pure)."""

import json
import random
import re
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from valve_loadgen.errors import BenchError
from valve_loadgen.plan.engine import Engine
from valve_loadgen.plan.observed import Observed, idle, outcome
from valve_loadgen.plan.requests import Requests, by_arrival

AS_LOGGED = Engine(1.0, 0.0, 1e12, (1 << 31) - 1, source="none: each request takes as long as it was logged")
"""An iteration of 1 ms whatever runs in it: a request of N tokens takes N ms."""

COMBINED = re.compile(
    r'^\S+ \S+ \S+ \[(?P<time>[^\]]+)\] "(?P<request>[^"]*)" (?P<status>\d{3}) \S+'
    r'(?: "(?:[^"\\]|\\.)*"){0,2}(?P<rest>.*)$'
)
NAMED_TIME = re.compile(r'(?:^|[\s"])(?:rt|request_time)="?(\d+\.?\d*)')
BARE_TIME = re.compile(r'(?:^|\s)"?(\d+\.\d+)"?(?=\s|$)')
UPSTREAM = re.compile(r'(?:^|[\s"])(?:ua|upstream|upstream_addr)="?([^\s",]+)')
TIMES = ("time_iso8601", "msec", "time_local", "timestamp", "time", "ts")
SPANS = ("request_time", "duration", "upstream_response_time")
UPSTREAMS = ("upstream_addr", "upstream", "instance")
MEND = (
    "each line needs its time and how long the request took: nginx's log_format combined with $request_time "
    "at its end, or JSON lines with time_iso8601 (or msec) and request_time"
)


@dataclass(frozen=True)
class Entry:
    """One logged request: when it ended (seconds since the epoch), how long it took, who served it."""

    end_s: float
    took_s: float
    upstream: str
    whole_seconds: bool
    inference: bool


def looks_like(text: str) -> bool:
    line = text.lstrip().split("\n", 1)[0]
    if COMBINED.match(line):
        return True
    return line.startswith("{") and any(f'"{key}"' in line for key in SPANS) and "input" not in line


def read(text: str, name: str) -> tuple[Requests, Observed | None]:
    """The requests as they were logged, and the replicas' idle gaps where the log tells upstreams.

    Times in whole seconds are spread inside their second. Raises BenchError that names file, line and mend.
    """
    entries = [entry for entry in _entries(text, name) if entry.inference]
    if not entries:
        raise BenchError(f"{name}: no line is a POST; is this the log of the inference endpoint?")
    draw = random.Random(name).random
    ends_s = [entry.end_s + (draw() if entry.whole_seconds else 0.0) for entry in entries]
    spans_s = [entry.took_s for entry in entries]
    start_s = min(end_s - took_s for end_s, took_s in zip(ends_s, spans_s, strict=True))
    busy = [
        (end_s - took_s - start_s, end_s - start_s) for end_s, took_s in zip(ends_s, spans_s, strict=True)
    ]
    return _requests(busy, name), _observed(busy, [entry.upstream for entry in entries])


def _entries(text: str, name: str) -> Iterator[Entry]:
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            yield _json_entry(json.loads(line)) if line.startswith("{") else _combined_entry(line)
        except (ValueError, KeyError, TypeError) as error:
            raise BenchError(f"{name}:{number}: {error}; {MEND}") from error


def _combined_entry(line: str) -> Entry:
    found = COMBINED.match(line)
    if not found:
        raise ValueError("not a line of nginx's combined format")
    took = NAMED_TIME.search(found["rest"]) or BARE_TIME.search(found["rest"])
    if not took:
        raise ValueError("no request time after the combined format")
    upstream = UPSTREAM.search(found["rest"])
    end_s, whole = _time(found["time"])
    return Entry(end_s, float(took[1]), upstream[1] if upstream else "", whole, _posts(found["request"]))


def _json_entry(entry: dict[str, Any]) -> Entry:
    end_s, whole = _time(_first(entry, TIMES))
    took_s = float(_first(entry, SPANS))
    if took_s < 0:
        raise ValueError(f"a request cannot take {took_s:g} s")
    upstream = next((str(entry[key]) for key in UPSTREAMS if key in entry), "")
    request = str(entry.get("method") or entry.get("request_method") or entry.get("request") or "POST")
    return Entry(end_s, took_s, upstream.split(",")[0], whole, _posts(request))


def _first(entry: dict[str, Any], keys: Sequence[str]) -> Any:
    found = next((entry[key] for key in keys if key in entry), None)
    if found is None:
        raise ValueError(f"none of {', '.join(keys)}")
    return found


def _posts(request: str) -> bool:
    """Inference is POSTed; health checks, scrapes and model lists are not."""
    return request.startswith("POST")


def _time(stamp: str | float) -> tuple[float, bool]:
    """Seconds since the epoch, and whether the stamp has no fraction of a second."""
    if isinstance(stamp, (int, float)):
        return float(stamp), isinstance(stamp, int)
    if re.fullmatch(r"\d+\.?\d*", stamp):
        return float(stamp), "." not in stamp
    if re.match(r"\d{2}/\w{3}/\d{4}:", stamp):
        return datetime.strptime(stamp, "%d/%b/%Y:%H:%M:%S %z").timestamp(), True
    return datetime.fromisoformat(stamp).timestamp(), "." not in stamp


def _requests(busy: Sequence[tuple[float, float]], name: str) -> Requests:
    count = len(busy)
    return by_arrival(
        Requests(
            max(end_s for _start_s, end_s in busy),
            [name],
            array("d", (start_s for start_s, _end_s in busy)),
            array("I", bytes(4 * count)),
            array("I", (max(1, round((end_s - start_s) * 1e3)) for start_s, end_s in busy)),
            array("I", bytes(4 * count)),
        )
    )


def _observed(busy: Sequence[tuple[float, float]], upstreams: Sequence[str]) -> Observed | None:
    names = sorted(set(upstreams) - {"", "-"})
    if not names:
        return None
    span_s = max(end_s for _start_s, end_s in busy)
    by_name: dict[str, list[tuple[float, float]]] = {name: [] for name in names}
    for interval, upstream in zip(busy, upstreams, strict=True):
        if upstream in by_name:
            by_name[upstream].append(interval)
    gaps = [(number, *gap) for number, name in enumerate(names) for gap in idle(by_name[name], span_s)]
    in_flight_s = sum(end_s - start_s for start_s, end_s in busy)
    return Observed(outcome(gaps), names, span_s, span_s * len(names), in_flight_s, len(busy))
