"""Owns what a run's report tells the planner: its online requests, and how long its gate was open (pure)."""

from collections.abc import Sequence
from typing import Any

from valve_loadgen import events as joins
from valve_loadgen import stats
from valve_loadgen.arrivals import Planned
from valve_loadgen.results import ONLINE_ALONE, VALVE, Results


def ledger(results: Results, plans: Sequence[Sequence[Planned]]) -> list[dict[str, Any]]:
    """One entry a planned request; `plans` by round. Times of those that failed are None.

    {"round", "at_s", "input_tokens", "output_tokens", "ttft_ms", "total_ms"}: arrival since the window
    opened, lengths as asked for, first token and end of the answer since the scheduled time, online alone.
    """
    alone = {(w.round, e.name): e for w in results.of(ONLINE_ALONE) for e in w.exchanges if e.ok}
    entries = []
    for number, plan in enumerate(plans):
        for planned in plan:
            exchange = alone.get((number, planned.name))
            entries.append(
                {
                    "round": number,
                    "at_s": planned.at_ns / 1e9,
                    "input_tokens": len(planned.prompt.split()),
                    "output_tokens": planned.output_tokens,
                    "ttft_ms": exchange and exchange.ttft_ms,
                    "total_ms": exchange and (exchange.done_ns - exchange.sched_ns) / 1e6,
                }
            )
    return entries


def open_fraction(results: Results) -> float | None:
    """Of the wall time with Valve, that in which no tenant was stopped, by the tenants' own stamps."""
    windows = results.of(VALVE)
    wall_ns = sum(window.end_ns - window.start_ns for window in windows)
    stopped = [span for told in joins.tenant_events(results.events).values() for span in _stops(told)]
    running_ns = sum(stats.drained_ns(stopped, window.start_ns, window.end_ns) for window in windows)
    return running_ns / wall_ns if wall_ns else None


def _stops(told: Sequence[joins.Event]) -> list[tuple[int, int]]:
    """One tenant's stops as (stopped, resumed), from its events in order of time."""
    ends = [event["t_ns"] for event in told[1:]] + [1 << 63]
    return [(event["t_ns"], end) for event, end in zip(told, ends, strict=True) if event["kind"] == "stopped"]
