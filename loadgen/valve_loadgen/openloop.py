"""Owns the open loop: sends every planned request at its time, whatever the answers do."""

import asyncio
import contextlib
from collections.abc import Sequence

from valve_loadgen.alarm import Alarm
from valve_loadgen.arrivals import Planned
from valve_loadgen.client import Client
from valve_loadgen.completions import PATH, completion
from valve_loadgen.exchange import Exchange

PATIENCE_S = 120.0


async def replay(client: Client, planned: Sequence[Planned], start_ns: int, prefix: str) -> list[Exchange]:
    """Sends each request at `start_ns` + its time; waits for the answers, PATIENCE_S at most after the last.

    Request ids are `prefix` + the planned name. What has not ended by then is recorded as an error.
    """
    exchanges = [Exchange(f"{prefix}{plan.name}", plan.name, start_ns + plan.at_ns) for plan in planned]
    tasks: list[asyncio.Task[None]] = []
    with contextlib.closing(Alarm()) as alarm:
        try:
            for plan, exchange in zip(planned, exchanges, strict=True):
                await alarm.until(exchange.sched_ns)
                body = completion(plan.prompt, plan.output_tokens)
                tasks.append(asyncio.create_task(client.stream(exchange, PATH, body)))
            if tasks:
                await asyncio.wait(tasks, timeout=PATIENCE_S)
        finally:
            await _end(tasks)
    for exchange in exchanges:
        if not exchange.done_ns and exchange.error is None:
            exchange.error = f"no end within {PATIENCE_S:g} s of the last arrival"
    return exchanges


async def _end(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
