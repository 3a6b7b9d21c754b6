"""Carries out what the controller decides: the claim in the node segment, the lease, the timers, the
engine's word.

Everything runs on the event loop's thread, so a hung loop lets the lease lapse: that is wanted.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

from valve_adapters.adapter import Load

from .budget import Goal
from .config import Mode
from .controller import Action, DrainController, State, Step
from .cooldown import Cooldown
from .events import EventLog
from .flight import Flight
from .seat import HolderSeat
from .slices import Slices

log = logging.getLogger(__name__)

RENEW_S = 0.5  # VLV_RENEW_NS
LEASE_NS = 3_000_000_000  # VLV_LEASE_NS
TAKE_AGAIN_ROUNDS = 2  # renewals: without a seat, how often to try for one
DOUBT_LIMIT_NS = (
    30_000_000_000  # an engine that is busy for longer with nothing of ours is busy for someone else
)
STALL_NS = 30_000_000_000  # a hold without progress for so long makes us ask the engine
BLIND_STALL_NS = 300_000_000_000  # the same for engines that cannot tell: a long prefill looks like this too


class Gate:
    """Arrivals and ends in; claims, timers and questions out. Modes: enforce acts, observe only decides.
    `guard_s`: how long an engine that does not tell its load is taken to run on after a doubtful end;
    `ask_again_s`: the time between two questions to one that does.
    """

    def __init__(
        self,
        seat: HolderSeat,
        mode: Mode,
        cooldown: Cooldown,
        events: EventLog,
        ask_engine: Callable[[], Awaitable[Load | None]],
        guard_s: Callable[[], float],
        ask_again_s: Callable[[], float],
        goal: Goal | None = None,
    ) -> None:
        self._seat, self._enforce = seat, mode is Mode.ENFORCE
        self._cooldown, self._events = cooldown, events
        self._ask_engine, self._guard_s, self._ask_again_s = ask_engine, guard_s, ask_again_s
        self.controller = DrainController()
        self.slices = (
            None if goal is None else Slices(goal, self._sliceable, self._begin_slice, self._end_slice)
        )
        self.on_slice_end: Callable[[Flight], None] = lambda _: None  # a flight in a request's place
        self.closes = 0
        self.lapses = 0
        self.closed_ns = 0  # time spent closed, up to the last opening
        self._closed_at_ns = 0
        self._asked_since_ns = 0
        self._generation = 0
        self._renewed_ns = time.monotonic_ns()
        self._timer: asyncio.TimerHandle | None = None
        self._question: asyncio.Task[None] | None = None
        self._renewing: asyncio.Task[None] | None = None

    # ---- from the intake (hot path) ----

    def arrived(self, flight: Flight) -> None:
        """Closes the gate if it is open; stamps the flight."""
        if flight.arrival_ns - self._renewed_ns > LEASE_NS:
            self._renew()  # we stood still: the lapse comes first, so that this arrival closes again
        flight.closes_before = self.closes
        if self.slices:
            self.slices.arrived(flight, len(self.controller.held))
        self._hold(self.controller.arrived(flight), flight)

    def progressed(self, flight: Flight) -> None:
        """A released request (an idle WebSocket, say) moves again: it is held as if it had just arrived."""
        if flight in self.controller.dormant:
            self._hold(self.controller.progressed(flight), flight)

    def token(self, flight: Flight, decode_gap_ns: int) -> None:
        """`decode_gap_ns`: since the last one; 0 if it is the first, or a prompt lengthened it."""
        if self.slices and flight.counter is not None:
            self.slices.token(flight, flight.last_token_ns, decode_gap_ns, flight.counter.tokens)

    def held_back(self, flight: Flight, since_ns: int, now_ns: int) -> None:
        """Its client has taken nothing meanwhile."""
        if self.slices:
            self.slices.held_back(flight, since_ns, now_ns)

    def finished(self, flight: Flight, *, sure: bool) -> None:
        flight.closes_seen = self.closes - flight.closes_before
        if self.slices:
            self.slices.finished(flight)
        self._perform(self.controller.finished(flight, sure=sure))
        self._look()

    # ---- life ----

    def start(self) -> None:
        """Takes a row if there is one and keeps the lease from now on. Call it before requests can arrive."""
        if self._enforce and not self._seat.take():
            log.error("proxying without a gate: %s", self._seat.problem)
        self._renewing = asyncio.create_task(self._keep_lease(), name="valve-lease")

    async def stop(self) -> None:
        """Gives the row up; every tenant runs again."""
        self._cancel_timer()
        if self.slices:
            self.slices.stop()
        for task in (self._renewing, self._question):
            if task is not None:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
        self._seat.leave()

    @property
    def ready(self) -> bool:
        return self._seat.taken or not self._enforce

    @property
    def closed_total_ns(self) -> int:
        running = time.monotonic_ns() - self._closed_at_ns if self._closed_at_ns else 0
        return self.closed_ns + running

    # ---- actions ----

    def _hold(self, step: Step, flight: Flight) -> None:
        if Action.CLOSE in step.actions:
            self.closes += 1
            self._close(flight)
        else:
            self._cancel_timer()
            if self.slices and self.slices.open:
                self.slices.cut()
                self._close(flight)
        self._asked_since_ns = 0
        flight.generation = self._generation
        self._look()

    def _close(self, flight: Flight) -> None:
        now_ns = time.monotonic_ns()
        if self._enforce:
            self._generation = self._seat.close_gate()
        self._closed_at_ns = now_ns
        flight.closed_gate = True
        self._events.closed(now_ns, self._generation, flight)

    def _open(self, slice_until_ns: int = 0) -> None:
        now_ns = time.monotonic_ns()
        if self._enforce:
            self._generation = self._seat.open_gate()
        self._account_closed_time(now_ns)
        self._events.opened(now_ns, self._generation, slice_until_ns)

    # ---- slices ----

    def _sliceable(self) -> list[Flight]:
        """What the budget decides over: the drain policy has every other state."""
        held = self.controller.held if self.controller.state is State.CLOSED else ()
        return [flight for flight in held if isinstance(flight, Flight)]

    def _look(self) -> None:
        if self.slices:
            self.slices.look()

    def _begin_slice(self, until_ns: int) -> None:
        self._open(until_ns)

    def _end_slice(self, due_ns: int) -> None:
        self._closed_at_ns = time.monotonic_ns()
        if self._enforce:
            self._generation = self._seat.close_gate()
        self._events.slice_ended(self._closed_at_ns, self._generation, due_ns)
        if self._generation:
            self.on_slice_end(Flight("", "", None, due_ns, generation=self._generation))

    def _account_closed_time(self, now_ns: int) -> None:
        if self._closed_at_ns:
            self.closed_ns += now_ns - self._closed_at_ns
            self._closed_at_ns = 0

    def _perform(self, step: Step) -> None:
        for action in step.actions:
            match action:
                case Action.OPEN:
                    self._open()
                case Action.ASK:
                    self._ask(step.epoch)
                case Action.START_COOLDOWN:
                    self._start_timer(self._cooldown.duration_ns / 1e9, step.epoch)
                case Action.START_RETRY:
                    self._start_timer(self._ask_again_s(), step.epoch)
                case Action.CLOSE:
                    raise AssertionError("only an arrival closes")

    def _start_timer(self, after_s: float, epoch: int) -> None:
        self._cancel_timer()
        self._timer = asyncio.get_running_loop().call_later(after_s, self._timer_fired, epoch)

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _timer_fired(self, epoch: int) -> None:
        self._timer = None
        self._perform(self.controller.timer_fired(epoch))

    # ---- the engine's word ----

    def _ask(self, epoch: int) -> None:
        self._asked_since_ns = self._asked_since_ns or time.monotonic_ns()
        self._question = asyncio.create_task(self._put_question(epoch), name="valve-ask-engine")

    async def _put_question(self, epoch: int) -> None:
        load = await self._ask_engine()
        busy = self._judge(load)
        released = self.controller.released
        self._perform(self.controller.engine_answered(epoch, busy=busy))
        self._look()
        if self.controller.state is not State.ASKING:
            self._asked_since_ns = 0
        if self.controller.released > released:
            log.warning("released %d requests without progress", self.controller.released - released)

    def _judge(self, load: Load | None) -> bool:
        now_ns = time.monotonic_ns()
        asked_ns = now_ns - self._asked_since_ns
        if load is None and self.controller.held:  # a silent hold may still be a long prefill
            return self._silent_ns(now_ns) < BLIND_STALL_NS
        if load is None:
            return asked_ns < self._guard_s() * 1e9
        return not load.idle and (bool(self.controller.held) or asked_ns < DOUBT_LIMIT_NS)

    def _silent_ns(self, now_ns: int) -> int:
        latest = max((f.progress_ns for f in self.controller.held if isinstance(f, Flight)), default=0)
        return now_ns - latest

    # ---- the lease ----

    async def _keep_lease(self) -> None:
        rounds = 0
        while True:
            await asyncio.sleep(RENEW_S)
            self._renew()
            self._repeat_claim()
            if self.controller.held and self._silent_ns(time.monotonic_ns()) > STALL_NS:
                self._perform(self.controller.stalled())
                self._look()
            rounds += 1
            if not self.ready and rounds % TAKE_AGAIN_ROUNDS == 0:
                await self._take_seat()

    def _repeat_claim(self) -> None:
        """Says again what it says already: that changes only a row that somebody scribbled over."""
        if self._enforce:
            self._seat.close_gate() if self._closed_at_ns else self._seat.open_gate()

    async def _take_seat(self) -> None:
        """In a thread: it may wait for others' locks. What is closed by now is closed for real at once."""
        if not await asyncio.to_thread(self._seat.take):
            return
        if self._closed_at_ns:
            self._generation = self._seat.close_gate()
        self._seat.drop_removed()
        log.warning("the gate works again")

    def _renew(self) -> None:
        self._renewed_ns = time.monotonic_ns()
        self._seat.set_in_flight(len(self.controller.held))
        if not self._seat.renew():
            return
        self.lapses += 1
        self._cancel_timer()
        now_ns = time.monotonic_ns()
        self._account_closed_time(now_ns)
        self._events.lapsed(now_ns)
        self.controller.lapsed()
        if self.slices and self.slices.open:
            self.slices.cut()
        self._look()
        log.error("the lease lapsed: the event loop stood still for over 3 s; offline work ran meanwhile")
