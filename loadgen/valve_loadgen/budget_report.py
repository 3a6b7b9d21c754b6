"""Owns what the budget policy did in a colocation run, beside what the other arms did (pure)."""

from typing import Any

from valve_loadgen import stats
from valve_loadgen.events import Event, of_kind
from valve_loadgen.exchange import Exchange
from valve_loadgen.results import BUDGET, OFFLINE_ALONE, Results, tpot_ms

ATTAINED = 0.99


def report(results: Results, slo_tpot_ms: float) -> dict[str, Any]:
    """`attainment`: of the requests with a TPOT, by arm, the share within the SLO; failed ones are not."""
    windows = results.of(BUDGET)
    spans = [(window.start_ns, window.end_ns) for window in windows]
    wall_s = sum(window.wall_s for window in windows)
    slices = [event for event in of_kind(results.budget_events, "open") if event.get("slice_until_ns")]
    inside = [each for each in slices if any(start <= each["t_ns"] < end for start, end in spans)]
    arms = [arm for arm in results.arms if arm != OFFLINE_ALONE]
    return {
        "slo_tpot_ms": slo_tpot_ms,
        "attainment": {arm: attainment(_asked(results, arm), slo_tpot_ms) for arm in arms},
        "goal": ATTAINED,
        **results.against_alone(BUDGET),
        "slices": len(inside),
        "slices_per_s": len(inside) / wall_s if wall_s else None,
        "stop_latency_ms": stop_latency_ms(results.budget_events),
    }


def _asked(results: Results, arm: str) -> list[Exchange]:
    return [exchange for window in results.of(arm) for exchange in window.exchanges]


def attainment(exchanges: list[Exchange], slo_tpot_ms: float) -> float | None:
    """None: nobody asked for more than a token."""
    values = [(each.ok, tpot_ms(each)) for each in exchanges]
    met = [value is not None and value <= slo_tpot_ms for ok, value in values if value is not None or not ok]
    return stats.mean(met)


def stop_latency_ms(events: list[Event]) -> dict[str, float | None]:
    """From the moment when a slice was over, or the head that ended it was readable, to the tenant halted."""
    spans = [event["latency_ns"] / 1e6 for event in of_kind(events, "stopped") if "latency_ns" in event]
    return stats.quantiles(spans)
