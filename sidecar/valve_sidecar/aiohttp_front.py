"""The front on aiohttp: data plane, intake and gate, all of it on the event loop."""

from __future__ import annotations

import time
from typing import Any

from valve_adapters.adapter import Adapter
from valve_runtime.node import Node

from .config import Mode
from .controller import State
from .cooldown import Cooldown
from .events import EventLog, Record
from .front import Surroundings
from .gate import Gate
from .intake import SidecarIntake
from .proxy import AiohttpPlane
from .slices import NO_BUDGET
from .telemetry import Counters
from .tenants import TenantWatch
from .trace import Tracer


class AiohttpFront:
    """Implements Front."""

    name = "aiohttp"

    def __init__(self, given: Surroundings, adapter: Adapter) -> None:
        config = given.config
        self._gated = config.mode is not Mode.BYPASS
        self._counters = Counters(measures_arrivals=config.measure_arrivals)
        self._events = EventLog(given.number)
        self._watch = TenantWatch(self._events, self._counters.preempted)
        self._cooldown = Cooldown(given.fixed_cooldown_ns)
        self._gate = Gate(
            given.seat,
            config.mode,
            self._cooldown,
            self._events,
            given.ask_engine,
            lambda: self._intake.adapter.guard_s,
            lambda: self._intake.adapter.ask_again_s,
            given.goal,
        )
        self._gate.on_slice_end = self._watch.closed
        self._intake = SidecarIntake(
            adapter,
            self._gate,
            self._cooldown,
            self._counters,
            self._events,
            self._watch,
            config.mode,
            Tracer(config.trace_share) if config.otlp_endpoint else None,
        )
        self._given = given
        self._plane: AiohttpPlane | None = None

    async def start(self) -> None:
        if self._gated:
            self._gate.start()
        given = self._given
        self._plane = AiohttpPlane(given.listener, given.upstream, self._intake.adapter, self._intake)
        await self._plane.start()

    async def retire(self, patience_s: float) -> None:
        if self._plane is not None:
            await self._plane.retire(patience_s)

    async def drain(self, grace_s: float) -> None:
        if self._plane is not None:
            await self._plane.drain(grace_s)

    async def stop(self) -> None:
        await self._gate.stop()

    async def responds(self) -> bool:
        return True  # it is the event loop that asks

    def use(self, adapter: Adapter) -> None:
        self._intake.adapter = adapter

    @property
    def ready(self) -> bool:
        return self._gate.ready

    def press(self, *, waiting: bool, capacity: int) -> None:
        if self._gate.slices:
            self._gate.slices.budget.load(waiting, capacity)
            self._gate.slices.look()

    def collect(self, node: Node, now_ns: int) -> None:
        self._watch.collect(node, now_ns)
        if self._gate.slices:
            self._gate.slices.budget.costs(*self._watch.costs_ns)

    def state(self) -> dict[str, Any]:
        controller, slices = self._gate.controller, self._gate.slices
        return {
            "gate": self._gate_word(),
            "in_flight": self._counters.in_flight,
            "cooldown_ms": self._cooldown.duration_ns / 1e6,
            "budget": slices.state() if slices else None,
            "counters": self._counters.as_dict()
            | {
                "gate_closes": self._gate.closes,
                "gate_closed_s": self._gate.closed_total_ns / 1e9,
                "lapses": self._gate.lapses,
                "holds_released": controller.released,
                "acknowledgements_missed": self._watch.missed,
                "harvested_s": self._watch.harvested_ns(time.monotonic_ns()) / 1e9,
            }
            | (slices.counters() if slices else NO_BUDGET),
        }

    def _gate_word(self) -> str:
        if self._gate.slices and self._gate.slices.open:
            return "slice"
        state = self._gate.controller.state
        return "closed" if state is State.ASKING else state.value

    def since(self, start: int, limit: int) -> dict[str, Any]:
        return self._events.since(start, limit)

    def waiting(self) -> tuple[int, int]:
        return self._counters.waiting, self._counters.waiting_bytes

    def newest(self) -> Record:
        flight = self._counters.newest
        if flight is None or not self._counters.in_flight:
            return {}
        return {"readable_ns": flight.readable_ns} | (flight.trace.ids if flight.trace else {})

    def add(self, record: Record) -> None:
        self._events.add(record)
