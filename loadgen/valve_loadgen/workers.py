"""Owns the sending of a plan from one process or several, and what that cost in CPU time."""

import asyncio
import multiprocessing
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace

import uvloop

from valve_loadgen.arrivals import Planned
from valve_loadgen.client import Client
from valve_loadgen.completions import Ask
from valve_loadgen.conversation import follow
from valve_loadgen.exchange import Exchange
from valve_loadgen.openloop import OpenLoop
from valve_loadgen.priority import ahead_of_others
from valve_loadgen.target import Target

LEAD_NS = 300_000_000
SPAWN_LEAD_NS = 3_000_000_000  # until all the workers have started and opened their connections
SPARE_CONNECTIONS = 8


@dataclass(frozen=True)
class Sending:
    """Where and how a plan is sent. `storms_ns`: when, after the start, every connection is dropped."""

    target: Target
    ask: Ask = field(default_factory=Ask)
    headers: tuple[tuple[str, str], ...] = ()
    prefix: str = ""
    connections: int = SPARE_CONNECTIONS
    """Opened before the start, so that a send need not wait for one."""
    storms_ns: tuple[int, ...] = ()


@dataclass
class Sent:
    """What became of a plan, in order of sending; `cpu_s` of all processes while it ran."""

    start_ns: int
    exchanges: list[Exchange] = field(default_factory=list)
    cpu_s: float = 0.0
    ahead: bool = False
    """Whether every process ran ahead of others."""


async def send(plan: Sequence[Planned], sending: Sending, processes: int = 1) -> Sent:
    """Sends `plan`, dealt out to `processes`; returns when all has ended. Raises BenchError."""
    if processes == 1:
        return await send_here(plan, sending, time.monotonic_ns() + LEAD_NS)
    start_ns = time.monotonic_ns() + SPAWN_LEAD_NS
    loop, context = asyncio.get_running_loop(), multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, context) as pool:
        shares = [(plan[i::processes], sending, start_ns) for i in range(processes)]
        parts = await asyncio.gather(*(loop.run_in_executor(pool, _worker, *share) for share in shares))
    exchanges = sorted((each for part in parts for each in part.exchanges), key=lambda each: each.sched_ns)
    cpu_s, ahead = sum(part.cpu_s for part in parts), all(part.ahead for part in parts)
    return Sent(start_ns, exchanges, cpu_s, ahead)


def _worker(plan: Sequence[Planned], sending: Sending, start_ns: int) -> Sent:
    return uvloop.run(send_here(plan, sending, start_ns))


async def send_here(plan: Sequence[Planned], sending: Sending, start_ns: int) -> Sent:
    """Sends `plan` from this process, request `i` at `start_ns` + its time. Raises BenchError."""
    client = Client(sending.target, dict(sending.headers))
    loop = OpenLoop(client, start_ns, sending.prefix, sending.ask.request, follow)
    for each in plan:
        loop.add(each)
    try:
        await client.open(sending.connections)
        storms = _plan_storms(client, sending, start_ns)
        with ahead_of_others() as ahead:
            exchanges = await loop.run()
        for storm in storms:
            storm.cancel()
        return Sent(start_ns, exchanges, loop.cpu_s, ahead)
    finally:
        client.close()


def _plan_storms(client: Client, sending: Sending, start_ns: int) -> list[asyncio.TimerHandle]:
    loop, now_ns = asyncio.get_running_loop(), time.monotonic_ns()
    delays_s = [(start_ns + at_ns - now_ns) / 1e9 for at_ns in sending.storms_ns]
    return [loop.call_later(delay_s, client.drop_all) for delay_s in delays_s]


def named(sending: Sending) -> Sending:
    """With request ids that no earlier run has used."""
    return replace(sending, prefix=f"{sending.prefix}{time.monotonic_ns():x}-")
