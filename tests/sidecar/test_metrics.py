"""What Prometheus reads is well formed, complete, and the same as the documentation says."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from valve_sidecar.metrics import render_metrics
from valve_sidecar.telemetry import Counters

DOCUMENT = Path(__file__).parents[2] / "docs/observability.md"


def state(counters: dict[str, Any], tenants: list[dict[str, Any]]) -> dict[str, Any]:
    gate = {"gate_closes": 4, "gate_closed_s": 1.5, "lapses": 0, "holds_released": 0}
    return {
        "gate": "closed",
        "gated": True,
        "in_flight": 2,
        "cooldown_ms": 50.0,
        "budget": dict.fromkeys(("slo_ms", "period_ms", "reserve_ms", "baseline_ms", "balance_ms"), 50.0),
        "counters": counters | gate,
        "tenants": tenants,
        "memory": [memory()],
    }


def memory() -> dict[str, Any]:
    pages = {"limit": 100, "online": 20, "tenants": 70, "free": 10, "reserved": 30, "used": 18, "soon": 0}
    counted = {"reclaims": 3, "reclaimed": 40, "refused": 1, "reclaims_left": 27, "decides": True}
    pool = {"row": 0, "role": "tenant", "name": "batch", "alive": True, "reclaimed": 40, "stops": 2}
    pools = [pool | {"errors": 0, "reclaim_ns": 5_000_000}, {"alive": False}]
    return {"device": "GPU-0", "parties": pools} | pages | counted


def tenant(row: int, job: str) -> dict[str, Any]:
    numbers = {"stops": 7, "slow_stops": 0, "foreign_resumes": 0, "escalations": 1, "errors": 0}
    numbers["breathers"] = 2
    names = {"devices": ["cpu"], "row": row, "job": job, "rank": 0, "mechanism": "freezer_cgroup"}
    shim = {"runner_pid": 0, "channels": 0, "refusals": 0, "unknown": 0, "held": 0}
    unknown = {"tokens": None, "input_tokens": None}
    return names | {"state": "stopped", "alive": True} | numbers | shim | unknown


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
    breathers = [value for (name, _), value in found.items() if name == "valve_tenant_breathers_total"]
    assert breathers
    assert set(breathers) == {2}
    device = ("device", "GPU-0")
    assert found["valve_memory_pages", (device, ("state", "tenants"))] == 70
    assert found["valve_memory_reserved_pages", (device,)] == 30
    assert found["valve_reclaims_total", (device,)] == 3
    pool = (device, ("name", "batch"), ("role", "tenant"), ("row", "0"))
    assert found["valve_pool_last_reclaim_seconds", pool] == 0.005
    assert found["valve_preemption_duration_seconds_bucket", (("le", "0.0003"),)] == 1
    assert found["valve_preemption_duration_seconds_bucket", (("le", "+Inf"),)] == 2
    assert found["valve_preemption_duration_seconds_count", ()] == 2
    stops = [value for (name, _), value in found.items() if name == "valve_tenant_stops_total"]
    assert stops == [7, 7], "two tenants of one job are two series"


def test_a_tenant_is_gated_by_a_live_closed_claim_on_its_device() -> None:
    claim = {"alive": True, "lease_remaining_ms": 900.0, "closed": True, "devices": ["cpu", "GPU-1"]}
    cases = [(claim, 1), (claim | {"lease_remaining_ms": -1.0}, 0), (claim | {"closed": False}, 0)]
    cases += [(claim | {"alive": False}, 0), (claim | {"devices": ["GPU-1"]}, 0)]
    for holder, expected in cases:
        shown = state(Counters().as_dict(), [tenant(0, "a")]) | {"holders": [holder]}
        gated = [
            value
            for (name, _), value in samples(render_metrics(shown)).items()
            if name == "valve_tenant_gated"
        ]
        assert gated == [expected], holder


def test_thousands_of_jobs_one_after_the_other_leave_no_trace() -> None:
    lines = {
        len(render_metrics(state(Counters().as_dict(), [tenant(i % 256, f"job-{i}")])).splitlines())
        for i in range(1000)
    }
    assert len(lines) == 1


def test_latencies_have_the_conventions_names_and_labels() -> None:
    counters = Counters()
    counters.latencies["duration"].observe(("chat", "vllm", "m", "429"), 0.03)
    found = samples(render_metrics(state(counters.as_dict(), [])))
    labels = {
        "gen_ai_operation_name": "chat",
        "gen_ai_provider_name": "vllm",
        "gen_ai_request_model": "m",
        "error_type": "429",
    }
    key = tuple(sorted((labels | {"le": "0.04"}).items()))
    assert found["gen_ai_server_request_duration_seconds_bucket", key] == 1


def test_tenants_are_counted_by_mechanism_and_state_without_their_ranks() -> None:
    rank = tenant(1, "a") | {"runner_pid": 7}
    dead = tenant(2, "a") | {"alive": False}
    found = samples(render_metrics(state(Counters().as_dict(), [tenant(0, "a"), rank, dead])))
    assert found["valve_tenants", (("mechanism", "freezer_cgroup"), ("state", "stopped"))] == 1


def test_tokens_are_of_jobs_whose_engines_tell_them() -> None:
    told = tenant(0, "a") | {"tokens": 0, "input_tokens": 7}
    found = samples(render_metrics(state(Counters().as_dict(), [told, tenant(1, "b")])))
    tokens = {
        (name, dict(labels)["tenant"]): value
        for (name, labels), value in found.items()
        if name.startswith("valve_offline")
    }
    assert tokens == {("valve_offline_tokens_total", "a"): 0, ("valve_offline_input_tokens_total", "a"): 7}


def test_what_the_shim_tells_is_of_ranks_only() -> None:
    rank = tenant(1, "a") | {"runner_pid": 7, "channels": 12, "refusals": 2, "unknown": 1, "held": 9}
    found = samples(render_metrics(state(Counters().as_dict(), [tenant(0, "a"), rank])))
    labels = (("rank", "0"), ("row", "1"), ("tenant", "a"))
    assert found["valve_shim_channels", labels] == 12
    assert found["valve_shim_refusals_total", labels] == 2
    assert found["valve_shim_unknown_calls_total", labels] == 1
    assert found["valve_shim_held_launches_total", labels] == 9
    assert not any(("row", "0") in labels for name, labels in found if name.startswith("valve_shim"))


def families() -> dict[str, str]:
    """Name, as a query has it, to type."""
    text = render_metrics(state(Counters().as_dict(), [])).decode()
    return dict(re.findall(r"^# TYPE (\S+) (\w+)$", text, re.MULTILINE))


def test_every_metric_is_documented_and_nothing_else_is() -> None:
    documented = dict(re.findall(r"^\| `([a-z_]+)`[^|]*\| (\w+) \|", DOCUMENT.read_text(), re.MULTILINE))
    assert documented == families()


def test_promtool_has_nothing_to_say() -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed (Debian: apt install prometheus)")
    text = render_metrics(state(Counters().as_dict(), [tenant(0, "a")]))
    done = subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True, check=False)
    assert (done.returncode, done.stderr.decode()) == (0, "")
