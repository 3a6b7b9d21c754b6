"""How long requests took, as the native intake counts it (native/intake/latencies.c)."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from typing import Any

from . import native, semconv
from .flight import Outcome
from .telemetry import LATENCY_BUCKETS_S, State, merge_counters

OPERATIONS = (semconv.CHAT, semconv.TEXT_COMPLETION, semconv.EMBEDDINGS, semconv.OTHER_OPERATION)
NO_BOUND = 2**64 - 1
LATENCIES = dict(zip(native.Latency, LATENCY_BUCKETS_S, strict=True))


def operation_number(path: str) -> int:
    """What the intake is told of a route that makes the engine compute: above 0."""
    return 1 + OPERATIONS.index(semconv.operation_of(path))


def bounds_ns() -> Any:
    """As the intake's options have them."""
    array = (ctypes.c_uint64 * native.LATENCY_BOUNDS * len(LATENCIES))()
    for row, bounds_s in zip(array, LATENCY_BUCKETS_S.values(), strict=True):
        row[:] = [round(bound_s * 1e9) for bound_s in bounds_s] + [NO_BOUND] * (len(row) - len(bounds_s))
    return array


def read_latencies(first: Any, engine: str) -> State:
    """As telemetry.Counters tells them. `first`: a pointer to the first series, or to none."""
    parts = (labelled(series, engine) for series in each(first))
    return merge_counters([{name: {} for name in LATENCY_BUCKETS_S}, *parts])


def each(series: Any) -> Iterator[native.Series]:
    while series:
        yield series.contents
        series = series.contents.next


def labelled(series: native.Series, engine: str) -> State:
    model = series.model[: series.model_len].decode(errors="replace")
    labels = (OPERATIONS[series.operation - 1], engine, model)
    found: State = {}
    for latency, name in LATENCIES.items():
        own = (*labels, error_of(series)) if latency is native.Latency.DURATION else labels
        histogram = counted(series.histograms[latency], len(LATENCY_BUCKETS_S[name]))
        found[name] = {"\t".join(own): histogram} if any(histogram["counts"]) else {}
    return found


def error_of(series: native.Series) -> str:
    """As telemetry.error_type()."""
    outcome = native.OUTCOMES[series.outcome]
    if outcome is Outcome.COMPLETED:
        return str(series.bad_status) if series.bad_status else ""
    return str(outcome)


def counted(histogram: native.Histogram, bounds: int) -> State:
    return {"counts": histogram.counts[: bounds + 1], "sum_s": histogram.sum_ns / 1e9}
