"""Owns the list of a run's online requests in its report: what was asked beside what it took alone (pure)."""

from collections.abc import Sequence
from typing import Any

from valve_loadgen.arrivals import Planned
from valve_loadgen.results import ONLINE_ALONE, Results


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
