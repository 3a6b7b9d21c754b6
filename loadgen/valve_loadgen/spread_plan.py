"""Owns the simulation beside a run of `valve bench spread`: the engine's figures, the harvest foretold."""

import asyncio
import time
from array import array
from collections.abc import Sequence
from statistics import fmean
from typing import TYPE_CHECKING, Any

from valve_loadgen.arrivals import Planned
from valve_loadgen.client import Client
from valve_loadgen.errors import BenchError
from valve_loadgen.exchange import Exchange
from valve_loadgen.openloop import replay
from valve_loadgen.plan import fleet, routing
from valve_loadgen.plan.engine import PRESETS, Engine
from valve_loadgen.plan.inputs import Traffic
from valve_loadgen.plan.requests import Requests
from valve_loadgen.prompts import prompt
from valve_loadgen.replicas import PACK_FIRST, ROUND_ROBIN, TIMED
from valve_loadgen.target import Target

if TYPE_CHECKING:
    from valve_loadgen.spread import SpreadPlan

ROUTING = {ROUND_ROBIN: routing.BALANCED, PACK_FIRST: routing.PACK_FIRST}
SHORT, LONG, ANSWER = 4, 24, 16  # tokens


async def figures_of(engine: str, online: Target, slots: int) -> Engine:
    """The timed engine's preset; else from a short and a long prompt, and a full batch. Raises BenchError."""
    if engine == TIMED:
        return PRESETS["8b"]
    client = Client(online)
    try:
        await _ask(client, [SHORT])  # warms up
        (short,), (long,) = await _ask(client, [SHORT]), await _ask(client, [LONG])
        together = await _ask(client, [SHORT] * slots)
    finally:
        client.close()
    return _fit(short, long, together)


async def _ask(client: Client, prompts: Sequence[int]) -> list[Exchange]:
    now_ns = time.monotonic_ns()
    planned = [Planned(f"p{i}", 0, prompt(f"{now_ns}/{i}", size), ANSWER) for i, size in enumerate(prompts)]
    done = await replay(client, planned, now_ns, f"figures-{now_ns:x}-")
    if failed := [each for each in done if not each.ok]:
        raise BenchError(f"the online engine fails: {failed[0].error or failed[0].status}")
    await asyncio.sleep(0.2)
    return done


def _fit(short: Exchange, long: Exchange, together: Sequence[Exchange]) -> Engine:
    lone_ms, batch_ms = _tpot_ms([short, long]), _tpot_ms(together)
    sequence_ms = max(0.0, (batch_ms - lone_ms) / (len(together) - 1))
    prefill = (LONG - SHORT) * 1e3 / max(1.0, (long.ttft_ms or 0.0) - (short.ttft_ms or 0.0))
    step_ms = max(0.1, lone_ms - sequence_ms)
    source = "measured before the run"
    return Engine(step_ms, sequence_ms * 1e3, prefill, len(together), 512, source=source)


def _tpot_ms(exchanges: Sequence[Exchange]) -> float:
    return fmean([each.tpot_ms for each in exchanges if each.tpot_ms is not None])


def predict(
    arm: str, rounds: Sequence[Sequence[Planned]], figures: Engine, plan: "SpreadPlan"
) -> dict[str, Any]:
    """What `valve plan` says of the same requests; the mean over the windows, each begun idle."""
    cooldown_s, limit = plan.cooldown_ms / 1e3, plan.sizes.slots
    options = fleet.Options(plan.replicas, figures, cooldown_s, limit)
    plans = [fleet.plan(Traffic(_columns(planned, plan.window_s)), options) for planned in rounds]
    harvests = [each.harvests[ROUTING[arm]] for each in plans]
    return {
        "harvest_fraction": fmean(each.harvest_fraction for each in harvests),
        "preemptions_per_request": sum(each.preemptions for each in harvests) / sum(map(len, rounds)),
        "in_flight_per_replica": fmean(each.in_flight for each in harvests),
    }


def _columns(planned: Sequence[Planned], span_s: float) -> Requests:
    return Requests(
        span_s,
        ["online"],
        array("d", (each.at_ns / 1e9 for each in planned)),
        array("I", (len(each.prompt.split()) for each in planned)),
        array("I", (each.output_tokens for each in planned)),
        array("I", [0] * len(planned)),
    )
