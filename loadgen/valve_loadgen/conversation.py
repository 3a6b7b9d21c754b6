"""Owns conversations: which request follows an answer, with the turns before it as history (pure)."""

from dataclasses import replace

from valve_loadgen.arrivals import Planned
from valve_loadgen.exchange import Exchange


def follow(plan: Planned, exchange: Exchange) -> Planned | None:
    """The next turn, `think_ns` after the answer's end; None after the last, or if this one failed."""
    if not plan.turns or not exchange.ok:
        return None
    turn, *later = plan.turns
    start_ns = exchange.sched_ns - plan.at_ns
    return replace(
        plan,
        name=turn.name,
        at_ns=exchange.done_ns - start_ns + turn.think_ns,
        prompt=turn.prompt,
        output_tokens=turn.output_tokens,
        history=(*plan.history, plan.prompt, exchange.text),
        turns=tuple(later),
    )
