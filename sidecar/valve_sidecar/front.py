"""What stands behind a worker's listening socket: data plane, intake and gate, on aiohttp or native."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Protocol

from valve_adapters.adapter import Adapter, Load
from valve_runtime.node import Node

from .address import Address
from .config import Mode, ServeConfig
from .controller import State
from .cooldown import Cooldown
from .events import EventLog, Record
from .gate import Gate, HolderSeat
from .intake import SidecarIntake
from .proxy import AiohttpPlane
from .telemetry import Counters
from .tenants import TenantWatch
from .trace import Tracer


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a front is given."""

    config: ServeConfig
    upstream: Address
    seat: HolderSeat
    number: int  # of the worker
    ask_engine: Callable[[], Awaitable[Load | None]]

    @property
    def fixed_cooldown_ns(self) -> int | None:
        return None if self.config.cooldown_ms is None else int(self.config.cooldown_ms * 1e6)

    @property
    def listen(self) -> Address:
        return Address.parse(self.config.listen)


class Front(Protocol):
    """`start`, then `drain`, then `stop`; the rest in between."""

    name: str  # of the data plane

    async def start(self, *, reuse_port: bool) -> None:
        """Raises ListenError."""
        ...

    async def drain(self, grace_s: float) -> None:
        """Stops accepting, lets exchanges end; tenants stay gated until they have."""
        ...

    async def stop(self) -> None:
        """Gives the row in the node segment up."""
        ...

    def use(self, adapter: Adapter) -> None:
        """What the engine is, once that is known."""
        ...

    @property
    def bound(self) -> Address: ...

    @property
    def ready(self) -> bool:
        """Whether the gate works, or is not wanted."""
        ...

    def collect(self, node: Node, now_ns: int) -> None:
        """Reads the tenants' acknowledgements."""
        ...

    def state(self) -> dict[str, Any]:
        """gate, in_flight, cooldown_ms and counters, as admin's /state has them."""
        ...

    def waiting(self) -> tuple[int, int]:
        """Requests without a first token, and the bytes of their bodies. Any thread may ask."""
        ...

    def add(self, record: Record) -> None:
        """Into the event log, made already."""
        ...

    def since(self, start: int, limit: int) -> dict[str, Any]:
        """As events.EventLog's."""
        ...


class AiohttpFront:
    """Implements Front; all of it on the event loop."""

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
        )
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

    async def start(self, *, reuse_port: bool) -> None:
        if self._gated:
            self._gate.start()
        given = self._given
        self._plane = AiohttpPlane(
            given.listen, given.upstream, self._intake.adapter, self._intake, reuse_port=reuse_port
        )
        await self._plane.start()

    async def drain(self, grace_s: float) -> None:
        if self._plane is not None:
            await self._plane.drain(grace_s)

    async def stop(self) -> None:
        await self._gate.stop()

    def use(self, adapter: Adapter) -> None:
        self._intake.adapter = adapter

    @property
    def bound(self) -> Address:
        return self._plane.bound if self._plane else self._given.listen

    @property
    def ready(self) -> bool:
        return self._gate.ready

    def collect(self, node: Node, now_ns: int) -> None:
        self._watch.collect(node, now_ns)

    def state(self) -> dict[str, Any]:
        controller = self._gate.controller
        return {
            "gate": "closed" if controller.state is State.ASKING else controller.state.value,
            "in_flight": self._counters.in_flight,
            "cooldown_ms": self._cooldown.duration_ns / 1e6,
            "counters": self._counters.as_dict()
            | {
                "gate_closes": self._gate.closes,
                "gate_closed_s": self._gate.closed_total_ns / 1e9,
                "lapses": self._gate.lapses,
                "holds_released": controller.released,
                "acknowledgements_missed": self._watch.missed,
                "harvested_s": self._watch.harvested_ns(time.monotonic_ns()) / 1e9,
            },
        }

    def since(self, start: int, limit: int) -> dict[str, Any]:
        return self._events.since(start, limit)

    def waiting(self) -> tuple[int, int]:
        return self._counters.waiting, self._counters.waiting_bytes

    def add(self, record: Record) -> None:
        self._events.add(record)
