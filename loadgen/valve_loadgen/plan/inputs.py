"""Owns the way from files to traffic: traces, client tables, access logs, Prometheus exports."""

import gzip
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from valve_loadgen import traces
from valve_loadgen.errors import BenchError
from valve_loadgen.plan import access_log, clients, measured, prometheus
from valve_loadgen.plan.engine import Engine
from valve_loadgen.plan.observed import Observed
from valve_loadgen.plan.requests import Requests, merged

PACKAGED = ("conv", "code")


@dataclass(frozen=True)
class Cut:
    """How much of the input is taken: a share of its requests, its first hours."""

    keep: float = 1.0
    hours: float | None = None
    seed: int = 1

    def of(self, requests: Requests) -> Requests:
        if self.hours is not None and self.hours * 3600 < requests.span_s:
            requests = requests.until(self.hours * 3600)
        return requests if self.keep == 1.0 else requests.thinned(self.keep, self.seed)


@dataclass(frozen=True)
class Traffic:
    """What is known: requests to simulate, or what monitoring saw, or both."""

    requests: Requests | None = None
    observed: Observed | None = None
    engine: Engine | None = None
    """Set where durations were logged: these are then simulated instead of an engine."""
    notes: list[str] = field(default_factory=list)


def read(names: Sequence[str], cut: Cut, pack_limit: int) -> Traffic:
    """The traffic in all files together. Raises BenchError that names file, place and mend."""
    parts = [_read(name, cut, pack_limit) for name in names]
    if len(parts) == 1:
        return parts[0]
    requests = [part.requests for part in parts if part.requests is not None and not part.engine]
    if len(requests) < len(parts):
        raise BenchError(
            "several inputs must all be request traces or client tables; plan the others one by one"
        )
    return Traffic(merged(requests), notes=[note for part in parts for note in part.notes])


def _read(name: str, cut: Cut, pack_limit: int) -> Traffic:
    if name in PACKAGED:
        return Traffic(cut.of(from_arrivals(traces.packaged(name), name)))
    path = Path(name)
    head = text(path, 1 << 16)
    if measured.looks_like(head):
        raise BenchError(f"{path} is a report of `valve bench colocate`; give it to --calibrate or --check")
    if prometheus.looks_like(head):
        return _prometheus(path, pack_limit)
    if clients.looks_like(head):
        return _clients(path, cut)
    if access_log.looks_like(head):
        requests, observed = access_log.read(text(path), name)
        return Traffic(cut.of(requests), observed, access_log.AS_LOGGED, [LOGGED])
    return Traffic(cut.of(from_arrivals(traces.load(path), path.name)))


LOGGED = (
    "Durations are those of the log, under the load of that time: packed on fewer replicas, requests would "
    "take longer than simulated here."
)
SAMPLED = (
    "Samples lie {step:g} s apart: shorter gaps and the preemptions at their ends are not seen, so that "
    "preemptions are a bound from below. Drained time is not biased by that, but the cool-downs of unseen "
    "gaps are missing."
)


def _prometheus(path: Path, pack_limit: int) -> Traffic:
    observed = prometheus.read(text(path), str(path), pack_limit)
    return Traffic(observed=observed, notes=[SAMPLED.format(step=observed.sampled_s)])


def _clients(path: Path, cut: Cut) -> Traffic:
    beside = path.with_name(path.name.replace("_clients.csv", "_tokens.json"))
    if beside == path or not beside.is_file():
        raise BenchError(
            f"{path}: a table of clients needs its table of tokens beside it: X_clients.csv and X_tokens.json"
        )
    requests = clients.read(text(path), text(beside), str(path), cut.keep, cut.hours, cut.seed)
    return Traffic(requests, notes=["Requests are drawn from the clients' measured rates and burstiness."])


def text(path: Path, size: int = -1) -> str:
    """The file's text, unpacked if it is gzip; `size`: only so many bytes of it. Raises BenchError."""
    opened = gzip.open if path.suffix == ".gz" else Path.open
    try:
        with opened(path, "rb") as file:
            return bytes(file.read(size)).decode(errors="strict" if size < 0 else "ignore")
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise BenchError(f"cannot read {path}: {error}") from error


def from_arrivals(arrivals: Sequence[traces.Arrival], name: str) -> Requests:
    """In columns. Deployments are those of the trace; a trace without is one deployment, named `name`."""
    if not arrivals:
        raise BenchError(f"{name}: no request in it")
    if arrivals[-1].at_s <= 0:
        raise BenchError(f"{name}: all its requests arrive at time 0; a plan needs some time to look at")
    numbers: dict[str, int] = {}
    group = array("I", (numbers.setdefault(each.deployment, len(numbers)) for each in arrivals))
    return Requests(
        arrivals[-1].at_s,
        [deployment or name for deployment in numbers],
        array("d", (each.at_s for each in arrivals)),
        array("I", (each.input_tokens for each in arrivals)),
        array("I", (max(1, each.output_tokens) for each in arrivals)),
        group,
    )
