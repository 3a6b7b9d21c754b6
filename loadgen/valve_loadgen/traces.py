"""Owns arrival traces: reads them and cuts, thins, stretches and scales them, each step explicit."""

import csv
import gzip
import itertools
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path

from valve_loadgen.errors import BenchError

HEADER = ["arrival_s", "input_tokens", "output_tokens"]


@dataclass(frozen=True)
class Arrival:
    """One request of a trace: seconds since the trace's start, and its lengths in tokens."""

    at_s: float
    input_tokens: int
    output_tokens: int


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
    """Reads a CSV (or .csv.gz) of arrival_s,input_tokens,output_tokens, sorted by arrival.

    Raises BenchError that names the file and line when it is not one.
    """
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
        raise BenchError(f"there is no packaged trace {name!r}; use conv or code, or the path of a CSV file")
    return _parse(file.read_text("utf-8"), str(file))


def _parse(text: str, name: str) -> list[Arrival]:
    rows = csv.reader(text.splitlines())
    if next(rows, None) != HEADER:
        raise BenchError(f"{name}: the first line must be {','.join(HEADER)}")
    arrivals = [_row(row, f"{name}:{line}") for line, row in enumerate(rows, start=2)]
    if any(later.at_s < earlier.at_s for earlier, later in itertools.pairwise(arrivals)):
        raise BenchError(f"{name}: arrivals are not sorted by arrival_s")
    return arrivals


def _row(row: list[str], place: str) -> Arrival:
    try:
        at_s, inputs, outputs = row
        return Arrival(float(at_s), int(inputs), int(outputs))
    except ValueError as error:
        raise BenchError(f"{place}: not arrival_s,input_tokens,output_tokens: {','.join(row)!r}") from error


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
