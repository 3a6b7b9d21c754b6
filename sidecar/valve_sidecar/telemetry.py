"""The worker's counters, its state as plain data, and both merged and rendered for Prometheus."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from .flight import Flight

# A preemption is judged in microseconds; the usual HTTP buckets cannot resolve it.
PREEMPTION_BUCKETS_S = (1e-5, 2e-5, 5e-5, 1e-4, 2e-4, 3e-4, 5e-4, 7.5e-4, 1e-3, 2e-3, 5e-3, 1e-2, 5e-2, 1e-1)

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


@dataclass(slots=True)
class Counters:
    in_flight: int = 0
    passed_through: int = 0  # requests that are not inference
    tokens: int = 0
    closes_per_request_max: int = 0
    requests: Counter[str] = field(default_factory=Counter)  # by outcome
    errors: Counter[str] = field(default_factory=Counter)  # by kind
    preemption: Histogram = field(default_factory=lambda: Histogram(PREEMPTION_BUCKETS_S))
    measures_arrivals: bool = False
    arrivals: Histogram = field(default_factory=lambda: Histogram(ARRIVAL_BUCKETS_S))

    def finished(self, flight: Flight) -> None:
        self.in_flight -= 1
        self.tokens += flight.tokens
        self.requests[str(flight.outcome)] += 1
        self.closes_per_request_max = max(self.closes_per_request_max, flight.closes_seen)
        if self.measures_arrivals:
            self.arrivals.observe((flight.gate_ns - flight.readable_ns) / 1e9)

    def preempted(self, latency_ns: int) -> None:
        self.preemption.observe(latency_ns / 1e9)

    def as_dict(self) -> State:
        return {
            "passed_through": self.passed_through,
            "tokens": self.tokens,
            "closes_per_request_max": self.closes_per_request_max,
            "requests": dict(self.requests),
            "errors": dict(self.errors),
            "preemption_bucket_counts": self.preemption.counts,
            "preemption_sum_s": self.preemption.sum_s,
            "arrival_bucket_counts": self.arrivals.counts,
            "arrival_sum_s": self.arrivals.sum_s,
        }


def merge_counters(parts: Iterable[State]) -> State:
    """Adds workers' counters key by key; a key with `max` in its name keeps the largest."""
    merged: State = {}
    for part in parts:
        for key, value in part.items():
            merged[key] = _add(key, merged[key], value) if key in merged else value
    return merged


def _add(key: str, left: Any, right: Any) -> Any:
    if isinstance(left, dict):
        return dict(Counter(left) + Counter(right))
    if isinstance(left, list):
        return [a + b for a, b in zip(left, right, strict=True)]
    return max(left, right) if "max" in key else left + right


def render_metrics(state: State) -> bytes:
    """Prometheus text of one (merged) state."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_StateCollector(state))
    return generate_latest(registry)


class _StateCollector:
    def __init__(self, state: State) -> None:
        self._state = state

    def describe(self) -> list[Metric]:
        return []

    def collect(self) -> Iterator[Metric]:
        yield from _gate_metrics(self._state)
        yield from _request_metrics(self._state["counters"])
        yield from _tenant_metrics(self._state["tenants"])
        yield from _shim_metrics(self._state["tenants"])


def _gate_metrics(state: State) -> Iterator[Metric]:
    counters = state["counters"]
    yield _gauge("valve_up", "1 while the sidecar runs.", 1)
    yield _gauge(
        "valve_gate_closed", "1 while this sidecar keeps the gate closed.", int(state["gate"] != "open")
    )
    yield _gauge("valve_gated", "0 if traffic passes without a gate (see readyz).", int(state["gated"]))
    yield _gauge("valve_requests_in_flight", "Online inference requests in flight.", state["in_flight"])
    yield _gauge("valve_cooldown_seconds", "Cool-down in use.", state["cooldown_ms"] / 1000)
    yield _counter("valve_gate_closes", "Times this sidecar closed the gate.", counters["gate_closes"])
    yield _counter("valve_gate_closed_seconds", "Time the gate was closed.", counters["gate_closed_s"])
    yield _counter("valve_lease_lapses", "Leases that ran out before renewal.", counters["lapses"])
    yield _counter("valve_holds_released", "Holds given up for want of progress.", counters["holds_released"])


def _request_metrics(counters: State) -> Iterator[Metric]:
    yield _labelled(
        "valve_requests", "Online inference requests by outcome.", "outcome", counters["requests"]
    )
    yield _labelled("valve_proxy_errors", "Errors of the proxy by kind.", "kind", counters["errors"])
    yield _counter("valve_passed_through", "Requests that are not inference.", counters["passed_through"])
    yield _counter("valve_online_tokens", "Tokens streamed to online clients.", counters["tokens"])
    yield _gauge(
        "valve_gate_closes_per_request_max",
        "Most gate closes in the life of one request.",
        counters["closes_per_request_max"],
    )
    yield _histogram(
        "valve_preemption_duration_seconds",
        "Request head readable at the sidecar to a tenant halted.",
        (PREEMPTION_BUCKETS_S, counters["preemption_bucket_counts"], counters["preemption_sum_s"]),
    )
    if any(counters["arrival_bucket_counts"]):
        yield _histogram(
            "valve_arrival_duration_seconds",
            "Request head readable at the sidecar to the gate signalled (--measure-arrivals).",
            (ARRIVAL_BUCKETS_S, counters["arrival_bucket_counts"], counters["arrival_sum_s"]),
        )


def _histogram(name: str, text: str, content: tuple[tuple[float, ...], list[int], float]) -> Metric:
    bounds_s, counts, sum_s = content
    total, buckets = 0, []
    for bound, count in zip([*map(repr, bounds_s), "+Inf"], counts, strict=True):
        total += count
        buckets.append((bound, total))
    family = HistogramMetricFamily(name, text)
    family.add_metric([], buckets, sum_s)
    return family


def _tenant_metrics(tenants: list[State]) -> Iterator[Metric]:
    labels = ["row", "job", "rank", "mechanism"]
    stopped = GaugeMetricFamily("valve_tenant_stopped", "1 while the tenant is stopped.", labels=labels)
    families = {
        key: CounterMetricFamily(f"valve_tenant_{key}", text, labels=labels)
        for key, text in (
            ("stops", "Times the tenant was stopped."),
            ("slow_stops", "Stops that took over 10 ms to be seen."),
            ("foreign_resumes", "Times something else continued the stopped tenant."),
            ("escalations", "Times a mechanism failed and the next one was used."),
            ("errors", "Errors of the tenant's mechanism."),
            (
                "breathers",
                "Times the tenant ran although its gate was closed: it cannot stay stopped longer.",
            ),
        )
    }
    for tenant in (tenant for tenant in tenants if tenant["alive"]):
        values = [str(tenant["row"]), tenant["job"], str(tenant["rank"]), tenant["mechanism"]]
        stopped.add_metric(values, int(tenant["state"] == "stopped"))
        for key, family in families.items():
            family.add_metric(values, tenant[key])
    yield stopped
    yield from families.values()


def _shim_metrics(tenants: list[State]) -> Iterator[Metric]:
    """What the shim in each GPU process of a tenant tells."""
    labels = ["row", "job", "rank"]
    channels = GaugeMetricFamily("valve_shim_channels", "GPU channels that the shim knows.", labels=labels)
    families = {
        key: CounterMetricFamily(f"valve_shim_{name}", text, labels=labels)
        for key, name, text in (
            ("refusals", "refusals", "Controls of channels that the driver refused."),
            ("unknown", "unknown_calls", "Driver calls that the shim passed through without knowing them."),
            ("held", "held_launches", "Launches that waited for the gate."),
        )
    }
    for tenant in (tenant for tenant in tenants if tenant["alive"] and tenant["runner_pid"]):
        values = [str(tenant["row"]), tenant["job"], str(tenant["rank"])]
        channels.add_metric(values, tenant["channels"])
        for key, family in families.items():
            family.add_metric(values, tenant[key])
    yield channels
    yield from families.values()


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, text, value=value)


def _counter(name: str, text: str, value: float) -> Metric:
    return CounterMetricFamily(name, text, value=value)


def _labelled(name: str, text: str, label: str, values: dict[str, int]) -> Metric:
    family = CounterMetricFamily(name, text, labels=[label])
    for key, value in sorted(values.items()):
        family.add_metric([key], value)
    return family
