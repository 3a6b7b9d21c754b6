"""Counters add up over workers, and what Prometheus reads is well formed."""

from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from valve_sidecar.telemetry import PREEMPTION_BUCKETS_S, Counters, merge_counters, render_metrics


def state(counters: dict[str, Any], tenants: list[dict[str, Any]]) -> dict[str, Any]:
    gate = {"gate_closes": 4, "gate_closed_s": 1.5, "lapses": 0, "holds_released": 0}
    return {
        "gate": "closed",
        "gated": True,
        "in_flight": 2,
        "cooldown_ms": 50.0,
        "counters": counters | gate,
        "tenants": tenants,
    }


def tenant(row: int, job: str) -> dict[str, Any]:
    numbers = {"stops": 7, "slow_stops": 0, "foreign_resumes": 0, "escalations": 1}
    numbers |= {"errors": 0, "breathers": 2}
    names = {"row": row, "job": job, "rank": 0, "mechanism": "freezer_cgroup"}
    shim = {"runner_pid": 0, "channels": 0, "refusals": 0, "unknown": 0, "held": 0}
    return names | {"state": "stopped", "alive": True} | numbers | shim


def samples(text: bytes) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


def test_every_family_renders_and_parses() -> None:
    counters = Counters()
    counters.errors["upstream_unreachable"] = 3
    counters.preempted(latency_ns=250_000)
    counters.preempted(latency_ns=3_000_000_000)
    found = samples(render_metrics(state(counters.as_dict(), [tenant(0, "a"), tenant(1, "a")])))
    assert found["valve_gate_closed", ()] == 1
    assert found["valve_gate_closes_total", ()] == 4
    assert found["valve_proxy_errors_total", (("kind", "upstream_unreachable"),)] == 3
    assert found["valve_preemption_duration_seconds_bucket", (("le", "0.0003"),)] == 1
    assert found["valve_preemption_duration_seconds_bucket", (("le", "+Inf"),)] == 2
    assert found["valve_preemption_duration_seconds_count", ()] == 2
    breathers = [value for (name, _), value in found.items() if name == "valve_tenant_breathers_total"]
    assert breathers == [2, 2]
    stops = [value for (name, _), value in found.items() if name == "valve_tenant_stops_total"]
    assert stops == [7, 7], "two tenants of one job are two series"


def test_bounds_are_inclusive_like_prometheus_wants_them() -> None:
    counters = Counters()
    counters.preempted(int(PREEMPTION_BUCKETS_S[0] * 1e9))
    assert counters.preemption.counts[0] == 1


def test_workers_add_up_and_maxima_stay_maxima() -> None:
    first, second = Counters(), Counters()
    first.requests["completed"], second.requests["completed"] = 2, 3
    second.requests["client_gone"] = 1
    first.closes_per_request_max, second.closes_per_request_max = 1, 0
    first.preempted(100)
    second.preempted(100)
    merged = merge_counters([first.as_dict(), second.as_dict()])
    assert merged["requests"] == {"completed": 5, "client_gone": 1}
    assert merged["closes_per_request_max"] == 1
    assert sum(merged["preemption_bucket_counts"]) == 2


def test_what_the_shim_tells_is_of_ranks_only() -> None:
    rank = tenant(1, "a") | {"runner_pid": 7, "channels": 12, "refusals": 2, "unknown": 1, "held": 9}
    found = samples(render_metrics(state(Counters().as_dict(), [tenant(0, "a"), rank])))
    labels = (("job", "a"), ("rank", "0"), ("row", "1"))
    assert found["valve_shim_channels", labels] == 12
    assert found["valve_shim_refusals_total", labels] == 2
    assert found["valve_shim_unknown_calls_total", labels] == 1
    assert found["valve_shim_held_launches_total", labels] == 9
    assert not any(("row", "0") in labels for name, labels in found if name.startswith("valve_shim"))
