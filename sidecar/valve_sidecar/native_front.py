"""The native front: the data plane's thread decides and acts; here the engine is asked and rows are taken."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from contextlib import suppress
from typing import Any

from valve_adapters.adapter import Adapter
from valve_runtime.node import Node

from . import native
from .config import Mode
from .events import Record
from .front import Surroundings
from .native_intake import NativeIntake, engine_times_ns
from .native_plane import NativePlane
from .slices import budget_state
from .telemetry import Counters
from .tenants import TenantWatch

log = logging.getLogger(__name__)
WATCH_S = 0.5  # how often what the thread counted is looked at
RESPOND_S = 2.0  # a thread that takes longer to do next to nothing is hung
TAKE_AGAIN_ROUNDS = 2  # looks: without a seat, how often to try for one


def give_way() -> None:
    """This thread does not take the core, when it wakes, from the one that carries requests."""
    with suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))


class NativeFront:
    """Implements Front. Raises SegmentError without the library."""

    name = "native"

    def __init__(self, given: Surroundings, adapter: Adapter) -> None:
        self._given, self._mode = given, given.config.mode
        self._library = native.library()
        self._intake = NativeIntake(
            adapter,
            self._mode,
            given.fixed_cooldown_ns,
            given.goal,
            measures_arrivals=given.config.measure_arrivals,
            trace_share=given.config.trace_share if given.config.otlp_endpoint else None,
            worker=given.number,
        )
        self._seen = Counters()  # preemptions; the thread counts the rest
        self._watch = TenantWatch(self._intake, self._seen.preempted)
        self._plane: NativePlane | None = None
        self._reuses_streams = False  # until the engine is known
        self._tasks: set[asyncio.Task[None]] = set()
        self._read = self._lapses = self._released = 0

    async def start(self) -> None:
        given = self._given
        plane = NativePlane(given.listener, given.upstream, self._intake.adapter, self._intake)
        plane.reuse_streams(self._reuses_streams)
        if self._mode is Mode.ENFORCE:
            self._take_seat()
        if self._mode is not Mode.BYPASS:
            asyncio.get_running_loop().add_reader(self._intake.notice_fd, self._asked)
            self._spawn(self._look_after())
        await plane.start()
        self._plane = plane
        give_way()

    async def retire(self, patience_s: float) -> None:
        if self._plane is not None:
            await self._plane.retire(patience_s)

    async def drain(self, grace_s: float) -> None:
        if self._plane is not None:
            await self._plane.drain(grace_s)

    async def stop(self) -> None:
        """The thread has ended by now."""
        asyncio.get_running_loop().remove_reader(self._intake.notice_fd)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._given.seat.leave()
        self._intake.close()

    async def responds(self) -> bool:
        return self._plane is None or await self._plane.responds(RESPOND_S)

    def use(self, adapter: Adapter) -> None:
        self._intake.adapter = adapter
        self._reuses_streams = adapter.reuses_after_stream
        if self._plane is not None:
            self._plane.reuse_streams(self._reuses_streams)
        self._post(self._library.set_engine, *engine_times_ns(adapter))
        self._post(self._library.forget_routes)

    @property
    def ready(self) -> bool:
        return self._given.seat.taken or self._mode is not Mode.ENFORCE

    def _spawn(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _post(self, task: Any, first: int = 0, second: int = 0) -> None:
        """On the thread, or here as long as there is none."""
        if self._plane is None:
            task(self._intake.handle, first, second)
        else:
            self._plane.post(task, self._intake.handle, first, second)

    # ---- the seat in the node segment ----

    def _take_seat(self) -> None:
        """Before the thread runs."""
        if self._given.seat.take():
            self._library.set_holder(self._intake.handle, self._given.seat.handle, 0)
        else:
            log.error("proxying without a gate: %s", self._given.seat.problem)

    async def _take_seat_again(self) -> None:
        """In a thread: it may wait for others' locks. What is closed by now is closed for real at once."""
        if await asyncio.to_thread(self._given.seat.take):
            log.warning("the gate works again")
            self._post(self._library.set_holder, self._given.seat.handle)

    async def _look_after(self) -> None:
        rounds = 0
        while True:
            await asyncio.sleep(WATCH_S)
            self._warn()
            rounds += 1
            if not self.ready and rounds % TAKE_AGAIN_ROUNDS == 0:
                await self._take_seat_again()

    def _warn(self) -> None:
        stats = self._intake.stats
        if stats.lapses > self._lapses:
            log.error("the lease lapsed: the data plane stood still for over 3 s; offline work ran meanwhile")
        if stats.released > self._released:
            log.warning("released %d requests without progress", stats.released - self._released)
        self._lapses, self._released = stats.lapses, stats.released

    # ---- the engine's word ----

    def _asked(self) -> None:
        os.eventfd_read(self._intake.notice_fd)
        self._spawn(self._put_question(self._intake.stats.question))

    async def _put_question(self, epoch: int) -> None:
        load = await self._given.ask_engine()
        answer = native.Load.UNKNOWN
        if load is not None:
            answer = native.Load.IDLE if load.idle else native.Load.BUSY
        self._post(self._library.answer, epoch, answer)

    # ---- what it tells ----

    def press(self, *, waiting: bool, capacity: int) -> None:
        self._post(self._library.set_load, waiting, capacity)

    def collect(self, node: Node, now_ns: int) -> None:
        closings, self._read = self._intake.closings_since(self._read)
        for flight in closings:
            if flight.generation:  # none: nothing was really closed
                self._intake.note_close(flight)
                self._watch.closed(flight)
        self._watch.collect(node, now_ns)
        if self._given.goal:
            self._post(self._library.set_costs, *self._watch.costs_ns)

    def state(self) -> dict[str, Any]:
        stats = self._intake.stats
        state = native.STATES[stats.state]
        return {
            "gate": "slice" if stats.slice_until_ns else "closed" if state == "asking" else state,
            "in_flight": stats.in_flight,
            "cooldown_ms": stats.cooldown_ns / 1e6,
            "budget": self._budget_state(stats) if self._given.goal else None,
            "counters": self._counters(stats) | self._gate_counters(stats) | self._budget_counters(stats),
        }

    def _counters(self, stats: native.IntakeStats) -> dict[str, Any]:
        requests = zip((str(outcome) for outcome in native.OUTCOMES), stats.requests, strict=True)
        errors = zip(native.error_kinds(), stats.errors, strict=True)
        idle_ns = time.monotonic_ns() - stats.idle_since_ns if stats.idle_since_ns else 0
        return self._seen.as_dict() | {
            "passed_through": stats.passed_through,
            "tokens": stats.tokens,
            "input_tokens": stats.input_tokens,
            "drained_s": (stats.drained_ns + idle_ns) / 1e9,
            "closes_per_request_max": stats.closes_per_request_max,
            "requests": {outcome: count for outcome, count in requests if count},
            "errors": {kind: count for kind, count in errors if count},
            "arrival_bucket_counts": list(stats.arrivals),
            "arrival_sum_s": stats.arrivals_sum_ns / 1e9,
            "latencies": self._intake.latencies(),
        }

    def _gate_counters(self, stats: native.IntakeStats) -> dict[str, float]:
        running_ns = time.monotonic_ns() - stats.closed_at_ns if stats.closed_at_ns else 0
        return {
            "gate_closes": stats.closes,
            "gate_closed_s": (stats.closed_ns + running_ns) / 1e9,
            "lapses": stats.lapses,
            "holds_released": stats.released,
            "acknowledgements_missed": self._watch.missed,
            "harvested_s": self._watch.harvested_ns(time.monotonic_ns()) / 1e9,
        }

    def _budget_counters(self, stats: native.IntakeStats) -> dict[str, float]:
        running_ns = time.monotonic_ns() - stats.slice_began_ns if stats.slice_until_ns else 0
        return {
            "slices": stats.slices,
            "slices_cut": stats.slices_cut,
            "slice_s": (stats.slice_ns + running_ns) / 1e9,
            "sliced": stats.sliced,
            "sliced_missed": stats.sliced_missed,
            "budget_earned_s": stats.earned_ns / 1e9,
            "budget_spent_s": stats.spent_ns / 1e9,
        }

    def _budget_state(self, stats: native.IntakeStats) -> dict[str, Any]:
        return budget_state(
            stats.slice_until_ns,
            stats.slo_ns,
            stats.period_ns,
            stats.reserve_ns,
            stats.base_ns,
            stats.balance_ns,
        )

    def since(self, start: int, limit: int) -> dict[str, Any]:
        return self._intake.since(start, limit)

    def waiting(self) -> tuple[int, int]:
        return self._intake.stats.waiting, self._intake.stats.waiting_bytes

    def newest(self) -> Record:
        return self._intake.newest() if self._intake.stats.in_flight else {}

    def add(self, record: Record) -> None:
        self._intake.add(record)
