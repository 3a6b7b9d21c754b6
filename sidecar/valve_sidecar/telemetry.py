"""A worker's counters: plain numbers that the hot path adds to, and their merge over several workers."""

from __future__ import annotations

import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from . import semconv
from .flight import Flight, Outcome

# A preemption is judged in microseconds; the usual HTTP buckets cannot resolve it.
PREEMPTION_BUCKETS_S = (1e-5, 2e-5, 5e-5, 1e-4, 2e-4, 3e-4, 5e-4, 7.5e-4, 1e-3, 2e-3, 5e-3, 1e-2, 5e-2, 1e-1)
LATENCY_BUCKETS_S = {
    "duration": semconv.REQUEST_DURATION_BUCKETS_S,
    "time_to_first_token": semconv.TIME_TO_FIRST_TOKEN_BUCKETS_S,
    "time_per_output_token": semconv.TIME_PER_OUTPUT_TOKEN_BUCKETS_S,
}
MAX_MODELS = 32  # an engine's answer may name any model: beyond these they are one series
OTHER_MODELS = "other"
LARGEST = ("closes_per_request_max", "harvested_s")  # of several workers the largest counts, not the sum

ARRIVAL_BUCKETS_S = tuple(2**i * 1e-6 for i in range(16))

State = dict[str, Any]


class Histogram:
    """Counts per bucket, with the sum; plain integers, so that states of workers add up."""

    def __init__(self, bounds_s: tuple[float, ...]) -> None:
        self.bounds_s = bounds_s
        self.counts = [0] * (len(bounds_s) + 1)
        self.sum_s = 0.0

    def observe(self, value_s: float) -> None:
        self.counts[bisect_left(self.bounds_s, value_s)] += 1
        self.sum_s += value_s

    def as_dict(self) -> State:
        return {"counts": self.counts, "sum_s": self.sum_s}


class Latencies:
    """One histogram for each set of label values that has come up."""

    def __init__(self, bounds_s: tuple[float, ...]) -> None:
        self._bounds_s = bounds_s
        self._series: dict[tuple[str, ...], Histogram] = {}

    def observe(self, labels: tuple[str, ...], value_s: float) -> None:
        series = self._series.get(labels)
        if series is None:
            series = self._series[labels] = Histogram(self._bounds_s)
        series.observe(value_s)

    def as_dict(self) -> State:
        return {"\t".join(labels): series.as_dict() for labels, series in self._series.items()}


@dataclass(slots=True)
class Counters:
    in_flight: int = 0
    waiting: int = 0  # of these, without a first token, upgrades apart
    waiting_bytes: int = 0  # of their bodies
    newest: Flight | None = None  # that came last, upgrades apart
    passed_through: int = 0  # requests that are not inference
    tokens: int = 0
    input_tokens: int = 0
    closes_per_request_max: int = 0
    requests: Counter[str] = field(default_factory=Counter)  # by outcome
    errors: Counter[str] = field(default_factory=Counter)  # by kind
    preemption: Histogram = field(default_factory=lambda: Histogram(PREEMPTION_BUCKETS_S))
    measures_arrivals: bool = False
    arrivals: Histogram = field(default_factory=lambda: Histogram(ARRIVAL_BUCKETS_S))
    latencies: dict[str, Latencies] = field(
        default_factory=lambda: {name: Latencies(bounds) for name, bounds in LATENCY_BUCKETS_S.items()}
    )
    models: set[str] = field(default_factory=set)
    drained_ns: int = 0  # time with nothing in flight, up to the last arrival that ended such a time
    idle_since_ns: int = field(default_factory=time.monotonic_ns)  # 0: something is in flight

    def arrived(self, flight: Flight) -> None:
        self.in_flight += 1
        if self.idle_since_ns:
            self.drained_ns += flight.arrival_ns - self.idle_since_ns
            self.idle_since_ns = 0

    def waits(self, flight: Flight) -> None:
        self.newest = flight
        self.waiting += 1
        self.waiting_bytes += flight.prompt_bytes

    def served(self, flight: Flight) -> None:
        """Its first token is out, or it ended without one."""
        self.waiting -= 1
        self.waiting_bytes -= flight.prompt_bytes

    def finished(self, flight: Flight) -> None:
        self.in_flight -= 1
        if not self.in_flight:
            self.idle_since_ns = flight.finished_ns
        self.tokens += flight.tokens
        self.input_tokens += flight.answer.input_tokens
        self.requests[str(flight.outcome)] += 1
        self.closes_per_request_max = max(self.closes_per_request_max, flight.closes_seen)
        if self.measures_arrivals:
            self.arrivals.observe((flight.gate_ns - flight.readable_ns) / 1e9)
        if not flight.upgrade:
            self.observe(flight)

    def preempted(self, latency_ns: int) -> None:
        self.preemption.observe(latency_ns / 1e9)

    def as_dict(self) -> State:
        idle_ns = time.monotonic_ns() - self.idle_since_ns if self.idle_since_ns else 0
        return {
            "passed_through": self.passed_through,
            "tokens": self.tokens,
            "input_tokens": self.input_tokens,
            "closes_per_request_max": self.closes_per_request_max,
            "drained_s": (self.drained_ns + idle_ns) / 1e9,
            "requests": dict(self.requests),
            "errors": dict(self.errors),
            "preemption_bucket_counts": self.preemption.counts,
            "preemption_sum_s": self.preemption.sum_s,
            "arrival_bucket_counts": self.arrivals.counts,
            "arrival_sum_s": self.arrivals.sum_s,
            "latencies": {name: series.as_dict() for name, series in self.latencies.items()},
        }

    def observe(self, flight: Flight) -> None:
        """Its latencies only."""
        labels = (semconv.operation_of(flight.path), flight.engine, self._bounded(flight.answer.model))
        duration_ns = flight.finished_ns - flight.readable_ns
        self.latencies["duration"].observe((*labels, error_type(flight)), duration_ns / 1e9)
        if not flight.first_token_ns or not flight.answer.streamed:
            return
        first_ns = flight.first_token_ns - flight.readable_ns
        self.latencies["time_to_first_token"].observe(labels, first_ns / 1e9)
        if flight.tokens > 1:
            rest_s = (duration_ns - first_ns) / 1e9
            self.latencies["time_per_output_token"].observe(labels, rest_s / (flight.tokens - 1))

    def _bounded(self, model: str) -> str:
        if model not in self.models and model:
            if len(self.models) >= MAX_MODELS:
                return OTHER_MODELS
            self.models.add(model)
        return model


def error_type(flight: Flight) -> str:
    """Empty for a good answer: else its status, or how the flight ended without one."""
    if flight.outcome is Outcome.COMPLETED:
        return str(flight.status) if flight.status >= 400 else ""
    return str(flight.outcome)


def merge_counters(parts: Iterable[State]) -> State:
    """Adds workers' counters key by key; of those in LARGEST the largest counts."""
    merged: State = {}
    for part in parts:
        for key, value in part.items():
            merged[key] = _add(key, merged[key], value) if key in merged else value
    return merged


def _add(key: str, left: Any, right: Any) -> Any:
    if isinstance(left, dict):
        return merge_counters([left, right])
    if isinstance(left, list):
        return [a + b for a, b in zip(left, right, strict=True)]
    return max(left, right) if key in LARGEST else left + right
