"""Owns arrival traces: reads them and cuts, thins, stretches and scales them, each step explicit."""

import csv
import gzip
import itertools
import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from importlib import resources
from operator import attrgetter
from pathlib import Path
from statistics import median

import orjson

from valve_loadgen.errors import BenchError
from valve_loadgen.trace_formats import FORMATS, Format, Row, recognise
from valve_loadgen.trace_formats import Arrival as Arrival

TICK_MIN_S = 0.5


@dataclass(frozen=True)
class Lengths:
    """How a trace's token counts become ones that a small engine can serve: divide, then clip."""

    input_divisor: float = 1.0
    input_min: int = 1
    input_max: int = 1 << 20
    output_divisor: float = 1.0
    output_min: int = 1
    output_max: int = 1 << 20

    def scaled(self, arrival: Arrival) -> Arrival:
        inputs = round(arrival.input_tokens / self.input_divisor)
        outputs = round(arrival.output_tokens / self.output_divisor)
        return replace(
            arrival,
            input_tokens=min(max(inputs, self.input_min), self.input_max),
            output_tokens=min(max(outputs, self.output_min), self.output_max),
        )

    def __str__(self) -> str:
        return (
            f"prompt tokens / {self.input_divisor:g} clipped to {self.input_min}..{self.input_max}, "
            f"output tokens / {self.output_divisor:g} clipped to {self.output_min}..{self.output_max}"
        )


def load(path: Path) -> list[Arrival]:
    """The requests of a CSV or JSONL file (or its .gz) in any of FORMATS, by arrival; ticks are spread.

    Raises BenchError that names the file and line when it is not one.
    """
    arrivals = read(path)
    tick_s = tick(arrivals)
    return spread(arrivals, tick_s, seed=path.name) if tick_s else arrivals


def read(path: Path) -> list[Arrival]:
    """As `load`, with the times as they stand in the file."""
    try:
        content = path.read_bytes()
        text = (gzip.decompress(content) if path.suffix == ".gz" else content).decode()
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise BenchError(f"cannot read the trace {path}: {error}") from error
    return _parse(text, str(path))


def packaged(name: str) -> list[Arrival]:
    """A slice shipped with the package: 'conv' or 'code' (see data/NOTICE)."""
    file = resources.files("valve_loadgen") / "data" / f"azure2023_{name}_slice.csv"
    if not file.is_file():
        raise BenchError(
            f"there is no packaged trace {name!r}; use conv or code, or the path of a trace file"
        )
    return _parse(file.read_text("utf-8"), str(file))


def _parse(text: str, name: str) -> list[Arrival]:
    lines = text.splitlines()
    table = _jsonl(lines, name) if text.lstrip().startswith("{") else _csv(lines, name)
    arrivals = [arrival for arrival in table if arrival is not None]
    if any(later.at_s < earlier.at_s for earlier, later in itertools.pairwise(arrivals)):
        raise BenchError(f"{name}: arrivals are not sorted by time")
    return arrivals


def _csv(lines: Sequence[str], name: str) -> Iterator[Arrival | None]:
    rows = csv.reader(lines)
    header = next(rows, [])
    known = _known(header, f"{name}: the first line")
    places = [header.index(column) if column in header else None for column in known.columns + known.more]
    cut = ([row[place] if place is not None else "" for place in places] for row in rows)
    return _read(known, cut, name, first_line=2)


def _jsonl(lines: Sequence[str], name: str) -> Iterator[Arrival | None]:
    known = _known(_columns(lines[0]), f"{name}: the first line")
    objects = (orjson.loads(line) for line in lines if line.strip())
    cut = (
        [each[column] for column in known.columns] + [each.get(column, "") for column in known.more]
        for each in objects
    )
    return _read(known, cut, name, first_line=1)


def _columns(line: str) -> Iterable[str]:
    """The keys of a JSON line; none if it is not an object."""
    try:
        found = orjson.loads(line)
    except orjson.JSONDecodeError:
        return ()
    return found if isinstance(found, dict) else ()


def _known(columns: Iterable[str], place: str) -> Format:
    found = recognise(columns)
    if found is None:
        formats = "; ".join(f"{', '.join(each.columns)} ({each.name})" for each in FORMATS)
        raise BenchError(f"{place} must have the columns of a known format: {formats}")
    return found


def _read(known: Format, rows: Iterable[Row], name: str, first_line: int) -> Iterator[Arrival | None]:
    counted = itertools.count(first_line)
    line, start_s, reading = first_line, None, known.read(rows)
    while True:
        line = next(counted)
        try:
            arrival = next(reading)
        except StopIteration:
            return
        except (ValueError, KeyError, IndexError, TypeError) as error:
            columns = ", ".join(known.columns)
            raise BenchError(f"{name}:{line}: not a row of {columns}: {error}") from error
        if arrival is not None and known.rebased:
            start_s = arrival.at_s if start_s is None else start_s
            arrival = replace(arrival, at_s=arrival.at_s - start_s)
        yield arrival


def tick(arrivals: Sequence[Arrival]) -> float | None:
    """The clock tick in s to which a trace's times were rounded; None if they look exact.

    Told by most requests sharing their time with another, and these times lying TICK_MIN_S or more apart
    (Mooncake: 3 s, give or take milliseconds).
    """
    times_s = sorted({arrival.at_s for arrival in arrivals})
    if len(times_s) < 2 or len(times_s) > len(arrivals) / 2:
        return None
    step_s = round(median(later - earlier for earlier, later in itertools.pairwise(times_s)), 3)
    return step_s if step_s >= TICK_MIN_S else None


def spread(arrivals: Iterable[Arrival], tick_s: float, seed: int | str) -> list[Arrival]:
    """Puts each arrival at a uniformly drawn moment of its tick."""
    draw = random.Random(seed).random
    moved = [replace(arrival, at_s=arrival.at_s + draw() * tick_s) for arrival in arrivals]
    return sorted(moved, key=attrgetter("at_s"))


def window(arrivals: Iterable[Arrival], start_s: float, span_s: float) -> list[Arrival]:
    """The arrivals in [start_s, start_s + span_s), re-based to 0."""
    inside = (arrival for arrival in arrivals if start_s <= arrival.at_s < start_s + span_s)
    return [replace(arrival, at_s=arrival.at_s - start_s) for arrival in inside]


def thin(arrivals: Sequence[Arrival], keep: float, seed: int | str) -> list[Arrival]:
    """Keeps each arrival with probability `keep`; the wall-clock structure stays."""
    draw = random.Random(seed).random
    return [arrival for arrival in arrivals if draw() < keep]


def stretch(arrivals: Iterable[Arrival], factor: float) -> list[Arrival]:
    """Multiplies every arrival time by `factor`; below 1 compresses."""
    return [replace(arrival, at_s=arrival.at_s * factor) for arrival in arrivals]
