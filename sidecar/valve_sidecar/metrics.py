"""Renders a sidecar's state (one worker's, or several merged) for Prometheus.

Every family is documented in docs/observability.md; a test compares the two lists.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from .telemetry import ARRIVAL_BUCKETS_S, LATENCY_BUCKETS_S, PREEMPTION_BUCKETS_S, State

GATE_STATES = ("open", "slice", "closed", "cooling")
DROP_REASONS = ("queue_full", "export_failed", "exporter_gone")
SERVED_LABELS = ("gen_ai_operation_name", "gen_ai_provider_name", "gen_ai_request_model")
LATENCIES = {
    "duration": (
        "gen_ai_server_request_duration_seconds",
        "Request head readable at the sidecar to its end.",
        (*SERVED_LABELS, "error_type"),
    ),
    "time_to_first_token": (
        "gen_ai_server_time_to_first_token_seconds",
        "Request head readable at the sidecar to the first token, of streamed answers.",
        SERVED_LABELS,
    ),
    "time_per_output_token": (
        "gen_ai_server_time_per_output_token_seconds",
        "First token to the end, for each token after the first.",
        SERVED_LABELS,
    ),
}
TENANT_COUNTERS = {
    "stops": ("valve_tenant_stops", "Times the tenant was stopped."),
    "slow_stops": ("valve_tenant_slow_stops", "Stops that took over 10 ms to be seen."),
    "foreign_resumes": (
        "valve_tenant_foreign_resumes",
        "Times something else continued the stopped tenant.",
    ),
    "escalations": (
        "valve_tenant_escalations",
        "Times a mechanism failed and the next one was used.",
    ),
    "errors": ("valve_tenant_errors", "Errors of the tenant's mechanism."),
    "breathers": (
        "valve_tenant_breathers",
        "Times the tenant ran although its gate was closed: it cannot stay stopped longer.",
    ),
}
TOKEN_COUNTERS = {
    "tokens": ("valve_offline_tokens", "Tokens generated offline, by the metrics of the job's engine."),
    "input_tokens": ("valve_offline_input_tokens", "Prompt tokens computed offline, likewise."),
}
SHIM_COUNTERS = {
    "refusals": ("valve_shim_refusals", "Controls of channels that the driver refused."),
    "unknown": (
        "valve_shim_unknown_calls",
        "Driver calls that the shim passed through without knowing them.",
    ),
    "held": ("valve_shim_held_launches", "Launches that waited for the gate."),
}
PAGE_OWNERS = ("online", "tenants", "free")
MEMORY_GAUGES = {
    "reserved": ("valve_memory_reserved_pages", "KV pages kept for online work, used or not."),
    "used": ("valve_memory_demand_pages", "KV pages that online work uses or waits for."),
}
MEMORY_COUNTERS = {
    "reclaims": ("valve_reclaims", "Times tenants had to give KV pages back."),
    "reclaimed": ("valve_reclaimed_pages", "KV pages that they had to give back."),
    "refused": ("valve_reclaim_limit_waits", "Times the limit of reclaims stood in the way."),
}
POOL_COUNTERS = {
    "reclaimed": ("valve_pool_lost_pages", "KV pages that this pool gave back; their contents are lost."),
    "stops": ("valve_pool_stops", "Stops of its channels for a remap while its gate was open."),
    "errors": ("valve_pool_errors", "Driver calls of this pool that failed, and were undone."),
}


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
        tenants = [tenant for tenant in self._state["tenants"] if tenant["alive"]]
        yield from _sidecar_metrics(self._state)
        yield from _gate_metrics(self._state)
        yield from _budget_metrics(self._state)
        yield from _request_metrics(self._state["counters"])
        yield from _preemption_metrics(self._state["counters"])
        yield from _trace_metrics(self._state.get("traces", {}))
        yield from _tenant_metrics(self._state, tenants)
        yield from _shim_metrics([tenant for tenant in tenants if tenant["runner_pid"]])
        yield from _memory_metrics(self._state.get("memory", []))


def _sidecar_metrics(state: State) -> Iterator[Metric]:
    yield _gauge("valve_up", "1 while the sidecar runs.", 1)
    info = {key: str(state.get(key, "")) for key in ("version", "mode", "policy", "engine")}
    yield _family(GaugeMetricFamily, "valve_info", "What runs here.", tuple(info), [(info.values(), 1)])
    yield _gauge("valve_workers", "Worker processes.", max(len(state.get("workers", ())), 1))
    yield _gauge("valve_gated", "0 if traffic passes without a gate (see readyz).", int(state["gated"]))


def _gate_metrics(state: State) -> Iterator[Metric]:
    counters = state["counters"]
    closed = int(state["gate"] not in ("open", "slice"))
    yield _gauge("valve_gate_closed", "1 while this sidecar keeps the gate closed.", closed)
    rows = [((name,), int(state["gate"] == name)) for name in GATE_STATES]
    yield _family(GaugeMetricFamily, "valve_gate_state", "1 for the gate's state.", ("state",), rows)
    yield _gauge("valve_requests_in_flight", "Online inference requests in flight.", state["in_flight"])
    yield _gauge("valve_cooldown_seconds", "Cool-down in use.", state["cooldown_ms"] / 1000)
    for name, text, key in (
        ("valve_gate_closes", "Times this sidecar closed the gate.", "gate_closes"),
        ("valve_gate_closed_seconds", "Time the gate was closed, added over workers.", "gate_closed_s"),
        ("valve_drained_seconds", "Time with nothing in flight, added over workers.", "drained_s"),
        ("valve_lease_lapses", "Leases that ran out before renewal.", "lapses"),
        ("valve_holds_released", "Holds given up for want of progress.", "holds_released"),
        ("valve_acknowledgements_missed", "Overwritten before they were read.", "acknowledgements_missed"),
    ):
        yield CounterMetricFamily(name, text, value=counters.get(key, 0))


def _budget_metrics(state: State) -> Iterator[Metric]:
    """Of policy budget; its counters are 0 under drain, its gauges absent."""
    counters = state["counters"]
    for name, text, key in (
        ("valve_slices", "Slices opened while online requests decoded.", "slices"),
        ("valve_slices_cut", "Slices that ended before their time.", "slices_cut"),
        ("valve_slice_seconds", "Time in slices, added over workers.", "slice_s"),
        ("valve_budget_requests", "Requests ended that a slice was taken from.", "sliced"),
        ("valve_budget_missed", "Of those, above the TPOT SLO.", "sliced_missed"),
        ("valve_budget_earned_seconds", "What requests ended earned: SLO x tokens.", "budget_earned_s"),
        ("valve_budget_spent_seconds", "Of that, what their tokens took.", "budget_spent_s"),
    ):
        yield CounterMetricFamily(name, text, value=counters.get(key, 0))
    budget = state["budget"]
    if budget is None:
        return
    for name, text, key in (
        ("valve_slo_seconds", "TPOT SLO; 0 until the baseline is known.", "slo_ms"),
        ("valve_slice_period_seconds", "One slice in each at most.", "period_ms"),
        ("valve_budget_reserve_seconds", "What each request keeps in hand.", "reserve_ms"),
        ("valve_baseline_seconds", "Undisturbed time of a token.", "baseline_ms"),
    ):
        yield _gauge(name, text, budget[key] / 1000)
    if budget["balance_ms"] is not None:
        text = "Left to the request in flight that has least."
        yield _gauge("valve_budget_balance_seconds", text, budget["balance_ms"] / 1000)


def _request_metrics(counters: State) -> Iterator[Metric]:
    by_outcome = _rows(counters["requests"])
    yield _family(
        CounterMetricFamily, "valve_requests", "Online inference requests ended.", ("outcome",), by_outcome
    )
    by_kind = _rows(counters["errors"])
    yield _family(CounterMetricFamily, "valve_proxy_errors", "Errors of the proxy.", ("kind",), by_kind)
    for name, text, key in (
        ("valve_passed_through", "Requests that are not inference.", "passed_through"),
        ("valve_online_tokens", "Tokens that online clients were sent.", "tokens"),
        ("valve_online_input_tokens", "Prompt tokens, where the engine's answer tells.", "input_tokens"),
    ):
        yield CounterMetricFamily(name, text, value=counters.get(key, 0))
    for key, (name, text, labels) in LATENCIES.items():
        family = HistogramMetricFamily(name, text, labels=labels)
        for values, series in sorted(counters.get("latencies", {}).get(key, {}).items()):
            _add_histogram(family, values.split("\t"), LATENCY_BUCKETS_S[key], series)
        yield family


def _preemption_metrics(counters: State) -> Iterator[Metric]:
    yield _gauge(
        "valve_gate_closes_per_request_max",
        "Most gate closes in the life of one request.",
        counters["closes_per_request_max"],
    )
    family = HistogramMetricFamily(
        "valve_preemption_duration_seconds", "Request head readable, or slice over, to a tenant halted."
    )
    series = {"counts": counters["preemption_bucket_counts"], "sum_s": counters["preemption_sum_s"]}
    _add_histogram(family, (), PREEMPTION_BUCKETS_S, series)
    yield family
    family = HistogramMetricFamily(
        "valve_arrival_duration_seconds",
        "Request head readable at the sidecar to the gate signalled (--measure-arrivals).",
    )
    series = {"counts": counters["arrival_bucket_counts"], "sum_s": counters["arrival_sum_s"]}
    _add_histogram(family, (), ARRIVAL_BUCKETS_S, series)
    yield family


def _trace_metrics(traces: State) -> Iterator[Metric]:
    yield CounterMetricFamily(
        "valve_spans_exported", "Spans that a collector took.", traces.get("exported", 0)
    )
    rows = [((reason,), traces.get(reason, 0)) for reason in DROP_REASONS]
    text = "Spans that no collector got, by reason."
    yield _family(CounterMetricFamily, "valve_spans_dropped", text, ("reason",), rows)


def _tenant_metrics(state: State, tenants: list[State]) -> Iterator[Metric]:
    jobs = Counter((job["mechanism"], job["state"]) for job in tenants if not job["runner_pid"])
    text = "Jobs under Valve on this machine."
    yield _family(GaugeMetricFamily, "valve_tenants", text, ("mechanism", "state"), jobs.items())
    yield CounterMetricFamily(
        "valve_harvested_seconds",
        "Time in which a tenant ran, since this sidecar started.",
        state["counters"].get("harvested_s", 0),
    )
    labels = ("row", "tenant", "rank", "mechanism")
    rows = [(_names(tenant, labels), int(tenant["state"] == "stopped")) for tenant in tenants]
    text = "1 while the tenant is stopped."
    yield _family(GaugeMetricFamily, "valve_tenant_stopped", text, labels, rows)
    busy = claimed_devices(state.get("holders", []))
    rows = [(_names(tenant, labels), int(bool(busy & set(tenant["devices"])))) for tenant in tenants]
    text = "1 while a live sidecar on one of its devices says closed."
    yield _family(GaugeMetricFamily, "valve_tenant_gated", text, labels, rows)
    yield from _counted(TENANT_COUNTERS, labels, tenants)
    telling = [tenant for tenant in tenants if tenant["tokens"] is not None]
    yield from _counted(TOKEN_COUNTERS, labels, telling)


def _shim_metrics(ranks: list[State]) -> Iterator[Metric]:
    """What the shim in each GPU process of a tenant tells."""
    labels = ("row", "tenant", "rank")
    rows = [(_names(rank, labels), rank["channels"]) for rank in ranks]
    text = "GPU channels that the shim knows."
    yield _family(GaugeMetricFamily, "valve_shim_channels", text, labels, rows)
    yield from _counted(SHIM_COUNTERS, labels, ranks)


def _memory_metrics(devices: list[State]) -> Iterator[Metric]:
    """KV pages of the devices that have a ledger; counters are those of this sidecar's decisions."""
    owners = [((each["device"], owner), each[owner]) for each in devices for owner in PAGE_OWNERS]
    text = "KV pages of 2 MiB by owner; free: no memory exists."
    yield _family(GaugeMetricFamily, "valve_memory_pages", text, ("device", "state"), owners)
    for key, (name, text) in MEMORY_GAUGES.items():
        rows = [([each["device"]], each[key]) for each in devices]
        yield _family(GaugeMetricFamily, name, text, ("device",), rows)
    left = [([each["device"]], each["reclaims_left"]) for each in devices if each["decides"]]
    text = "Reclaims that the limit still permits in this hour."
    yield _family(GaugeMetricFamily, "valve_reclaims_left", text, ("device",), left)
    for key, (name, text) in MEMORY_COUNTERS.items():
        rows = [([each["device"]], each[key]) for each in devices if each["decides"]]
        yield _family(CounterMetricFamily, name, text, ("device",), rows)
    labels = ("device", "row", "role", "name")
    pools = [
        ([str({**pool, **each}[label]) for label in labels], pool)
        for each in devices
        for pool in each["parties"]
        if pool["alive"]
    ]
    for key, (name, text) in POOL_COUNTERS.items():
        yield _family(CounterMetricFamily, name, text, labels, [(who, pool[key]) for who, pool in pools])
    text = "How long its last reclaim took, noticed to handed over."
    rows = [(who, pool["reclaim_ns"] / 1e9) for who, pool in pools]
    yield _family(GaugeMetricFamily, "valve_pool_last_reclaim_seconds", text, labels, rows)


def claimed_devices(holders: list[State]) -> set[str]:
    """Those that some sidecar of this machine, with a live lease, keeps for online work now."""
    live = [holder for holder in holders if holder["alive"] and holder["lease_remaining_ms"] > 0]
    return {device for holder in live if holder["closed"] for device in holder["devices"]}


def _counted(
    counters: dict[str, tuple[str, str]], labels: tuple[str, ...], tenants: list[State]
) -> Iterator[Metric]:
    for key, (name, text) in counters.items():
        rows = [(_names(tenant, labels), tenant[key]) for tenant in tenants]
        yield _family(CounterMetricFamily, name, text, labels, rows)


def _names(tenant: State, labels: tuple[str, ...]) -> list[str]:
    """The job's name is its label `tenant`: Prometheus gives `job` a meaning of its own."""
    return [str(tenant["job" if label == "tenant" else label]) for label in labels]


def _rows(values: dict[str, int]) -> list[tuple[tuple[str], int]]:
    return [((key,), value) for key, value in sorted(values.items())]


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, text, value=value)


def _family(
    kind: type[GaugeMetricFamily] | type[CounterMetricFamily],
    name: str,
    text: str,
    labels: tuple[str, ...],
    rows: Iterable[tuple[Iterable[str], float]],
) -> Metric:
    family = kind(name, text, labels=labels)
    for values, value in rows:
        family.add_metric(list(values), value)
    return family


def _add_histogram(
    family: HistogramMetricFamily, values: Sequence[str], bounds_s: tuple[float, ...], series: State
) -> None:
    total, buckets = 0, []
    for bound, count in zip([*map(repr, bounds_s), "+Inf"], series["counts"], strict=True):
        total += count
        buckets.append((bound, total))
    family.add_metric(list(values), buckets, series["sum_s"])
