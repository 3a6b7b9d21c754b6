"""Owns the figures of `valve bench preemption`, computed from events, send stamps and the witness (pure)."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from valve_loadgen import machine, stats
from valve_loadgen.events import Event, of_kind, preemptions, tenant_events
from valve_loadgen.results import latency
from valve_loadgen.witness import Witness

GOAL_P99_MS, GOAL_WAKE_P99_US = 1.0, 100.0
P99_SAMPLES = 500


def report(events: Sequence[Event], sends_ns: dict[str, int], witness: Witness) -> dict[str, Any]:
    """Latencies as {"p50", "p99", "max", "n"}; p99 is None under P99_SAMPLES stops."""
    found = [each for each in preemptions(events) if each.stops]
    sent = [(each.halted_ns, sends_ns.get(each.request_id)) for each in found]
    woken = [stop.woken_ns - each.close_ns for each in found for stop in each.stops]
    head_to_stop = latency([each.latency_ns for each in found])
    wake = wake_us(woken)
    return {
        "preemption_latency_ms": head_to_stop,
        "resume_latency_ms": latency(list(_resumes(events))),
        "wake_us": wake,
        "mechanism": ", ".join(sorted({str(event["mechanism"]) for event in of_kind(events, "stopped")})),
        "parsed_to_stopped_ms": latency([each.parsed_to_stopped_ns for each in found]),
        "send_to_stopped_ms": latency([halted - send for halted, send in sent if halted and send]),
        "heartbeat": {
            "cycles": witness.cycles,
            "violations": witness.violations,
            "vacuous": witness.vacuous,
        },
        "verdicts": {
            "the gate is real": "met" if witness.cycles and not witness.violations else "missed",
            f"preemption latency p99 < {GOAL_P99_MS:g} ms": _verdict(head_to_stop["p99"], GOAL_P99_MS),
            f"wake p99 < {GOAL_WAKE_P99_US:g} us": _verdict(wake["p99"], GOAL_WAKE_P99_US),
        },
        "machine": machine.describe(),
    }


def wake_us(spans_ns: Iterable[int]) -> dict[str, float | int | None]:
    """The store in the sidecar -> the agent awake in its own process: {"p50", "p99", "max", "n"} in us."""
    values = [span / 1e3 for span in spans_ns]
    told = stats.summary(values, (0.5, 0.99), P99_SAMPLES)
    return {"p50": told["p50"], "p99": told["p99"], "max": max(values, default=None), "n": len(values)}


def _resumes(events: Sequence[Event]) -> Iterator[int]:
    """From the gate's opening to the resume that answers it, per tenant and opening."""
    opened = {event["generation"]: event["t_ns"] for event in of_kind(events, "open")}
    for told in tenant_events(events).values():
        for event in told:
            if event["kind"] == "resumed" and event["generation"] in opened:
                yield event["t_ns"] - opened[event["generation"]]


def _verdict(value: float | int | None, goal: float) -> stats.Verdict:
    if value is None:
        return "inconclusive"
    return "met" if value < goal else "missed"


def render(result: dict[str, Any]) -> str:
    """The report as lines for a person."""
    lines = [f"mechanism: {result['mechanism']}"]
    for key, title in (
        ("preemption_latency_ms", "preemption (request readable -> every thread seen stopped)"),
        ("parsed_to_stopped_ms", "  of it, from the head parsed"),
        ("send_to_stopped_ms", "  from the client's send (includes the wire)"),
        ("resume_latency_ms", "resume (gate opened -> resume issued)"),
    ):
        lines.append(f"{title}: {_quantiles(result[key], 'ms')}")
    lines.append(f"wake (store -> agent awake): {_quantiles(result['wake_us'], 'us')}")
    beat = result["heartbeat"]
    lines.append(
        f"heartbeat inside the tenant: {beat['cycles']} stops, progress in {beat['violations']} of them "
        f"({beat['vacuous']} without a beat since the stop before)"
    )
    return "\n".join([*lines, *(f"{name}: {verdict}" for name, verdict in result["verdicts"].items())])


def _quantiles(told: dict[str, Any], unit: str) -> str:
    parts = [f"{name} {told[name]:.3f}" for name in ("p50", "p99", "max") if told[name] is not None]
    return f"{', '.join(parts) or '-'} {unit} (n={told['n']})"
