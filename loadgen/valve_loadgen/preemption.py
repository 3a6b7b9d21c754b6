"""Owns `valve bench preemption`: drives a busy real tenant through many stops, with a witness inside it."""

import asyncio
import contextlib
import random
import time
from dataclasses import dataclass
from typing import Any

from valve_loadgen import preemption_report
from valve_loadgen.alarm import Alarm
from valve_loadgen.client import Client
from valve_loadgen.errors import BenchError
from valve_loadgen.events import Event, Stop, preemptions
from valve_loadgen.exchange import Exchange
from valve_loadgen.heartbeat import Beats, read_heartbeat
from valve_loadgen.lab import Lab, opened_lab
from valve_loadgen.offline import OfflineDriver
from valve_loadgen.proxy import BODY, PATH
from valve_loadgen.screen import Screen
from valve_loadgen.witness import Witness

BATCH = 100
HEARTBEAT_THREADS = 2
GAP_S = (
    0.06,
    0.16,
)  # from one response to the next request: longer than the cool-down, so that the gate opens
COOLDOWN_MS, ANSWER_MS = 20, 15
BEAT_TIMEOUT_S = 10.0
PASSES_MAX = 4  # how many times `cycles` requests may be needed


@dataclass(frozen=True)
class PreemptionPlan:
    """`cycles` stops of a tenant with `threads` computing threads; `seed` for the gaps between requests."""

    cycles: int = 500
    threads: int = 4
    seed: int = 1


class PreemptionBench:
    """Requests one by one with random gaps, so that each closes the gate on a busy tenant."""

    def __init__(self, plan: PreemptionPlan, lab: Lab, screen: Screen) -> None:
        self._plan, self._lab, self._screen = plan, lab, screen
        self._beats = lab.processes.scratch / "heartbeat"
        self._random = random.Random(plan.seed)
        self._events: list[Event] = []
        self._sends_ns: dict[str, int] = {}
        self._witness = Witness()
        self._checked_ns = 0

    async def run(self) -> dict[str, Any]:
        """The report. Raises BenchError."""
        self._screen.stage("starting the tenant and the sidecar")
        tenant = await self._lab.start_engine("tenant", self._plan.threads, True, *self._heartbeat_options())
        online = await self._lab.start_backend(
            "online", self._lab.placement.others, "--delay-ms", str(ANSWER_MS)
        )
        options = ("--engine", "openai", "--device", "cpu", "--cooldown-ms", str(COOLDOWN_MS))
        client = Client(await self._lab.start_sidecar(online, *options))
        driver = OfflineDriver(tenant, parallel=4)
        try:
            self._screen.stage("keeping the tenant busy")
            await driver.start()
            await self._cycle(client)
        finally:
            client.close()
            await driver.stop()
        return preemption_report.report(self._events, self._sends_ns, self._witness)

    def _heartbeat_options(self) -> tuple[str, ...]:
        return "--heartbeat", str(self._beats), "--heartbeat-threads", str(HEARTBEAT_THREADS)

    async def _cycle(self, client: Client) -> None:
        asked = 0
        with contextlib.closing(Alarm()) as alarm:
            while self._witness.cycles < self._plan.cycles:
                if asked >= PASSES_MAX * self._plan.cycles:
                    raise BenchError(
                        f"{asked} requests led to only {self._witness.cycles} stops of the tenant"
                    )
                batch = min(BATCH, max(self._plan.cycles - self._witness.cycles, 5))
                await self._ask(client, alarm, batch)
                asked += batch
                await self._look()
                self._screen.stage(f"{self._witness.cycles} of {self._plan.cycles} stops")

    async def _ask(self, client: Client, alarm: Alarm, count: int) -> None:
        for _ in range(count):
            exchange = Exchange(f"preempt-{time.monotonic_ns():x}", "", time.monotonic_ns())
            await client.post(exchange, PATH, BODY)
            if not exchange.ok:
                raise BenchError(f"a request through the sidecar failed: {exchange.error or exchange.status}")
            self._sends_ns[exchange.request_id] = exchange.send_ns
            await alarm.until(time.monotonic_ns() + round(self._random.uniform(*GAP_S) * 1e9))

    async def _look(self) -> None:
        """Reads the events and checks the new stops against the heartbeat."""
        await self._lab.wait_for("after a batch", "gate", "open")
        await asyncio.sleep(0.1)  # the sidecar polls the tenants' acknowledgements
        self._events += await self._lab.new_events()
        stops = [stop for preemption in preemptions(self._events) for stop in preemption.stops]
        fresh = [stop for stop in stops if stop.resume_woken_ns and stop.stopped_ns > self._checked_ns]
        if fresh:
            self._witness.check(fresh, await self._beats_after(fresh))
            self._checked_ns = fresh[-1].stopped_ns

    async def _beats_after(self, stops: list[Stop]) -> list[Beats]:
        """The heartbeats once every thread has run again after the last of `stops`. Raises BenchError."""
        last_ns = max(stop.resume_woken_ns or 0 for stop in stops)
        deadline_s = time.monotonic() + BEAT_TIMEOUT_S
        while True:
            beats = read_heartbeat(self._beats)
            if all(thread.beat_ns > last_ns for thread in beats):
                break
            if time.monotonic() > deadline_s:
                raise BenchError(f"a heartbeat thread has not run for {BEAT_TIMEOUT_S:g} s after a resume")
            await asyncio.sleep(0.05)
        if any(thread.lost and thread.gaps[0][0] > stops[0].stopped_ns for thread in beats):
            raise BenchError("the heartbeat's ring was overwritten before it was read")
        return beats


async def preemption(plan: PreemptionPlan, screen: Screen) -> dict[str, Any]:
    """Sets everything up, measures, cleans up. Raises BenchError."""
    with opened_lab(engine_cores=plan.threads) as lab:
        result = await PreemptionBench(plan, lab, screen).run()
        return {**result, "placement": str(lab.placement), "commands": lab.commands}
