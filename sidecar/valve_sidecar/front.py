"""What stands behind a worker's listening socket: data plane, intake and gate, on aiohttp or native."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Protocol

from valve_adapters.adapter import Adapter, Load
from valve_runtime.node import Node

from .address import Address
from .budget import Goal
from .config import ServeConfig
from .events import Record
from .gate import HolderSeat
from .listener import Listener
from .policy import goal_of


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a front is given."""

    config: ServeConfig
    upstream: Address
    seat: HolderSeat
    number: int  # of the worker
    listener: Listener
    ask_engine: Callable[[], Awaitable[Load | None]]

    @property
    def fixed_cooldown_ns(self) -> int | None:
        return None if self.config.cooldown_ms is None else int(self.config.cooldown_ms * 1e6)

    @property
    def goal(self) -> Goal | None:
        return goal_of(self.config)


class Front(Protocol):
    """`start`, then `drain`, then `stop`; the rest in between."""

    name: str  # of the data plane

    async def start(self) -> None:
        """Raises ListenError."""
        ...

    async def retire(self, patience_s: float) -> None:
        """As flight.DataPlane's."""
        ...

    async def drain(self, grace_s: float) -> None:
        """Stops accepting, lets exchanges end; tenants stay gated until they have."""
        ...

    async def stop(self) -> None:
        """Gives the row in the node segment up."""
        ...

    async def responds(self) -> bool:
        """Whether what carries requests is not hung."""
        ...

    def use(self, adapter: Adapter) -> None:
        """What the engine is, once that is known."""
        ...

    @property
    def ready(self) -> bool:
        """Whether the gate works, or is not wanted."""
        ...

    def press(self, *, waiting: bool, capacity: int) -> None:
        """The engine's word for the budget: whether requests wait, how many it runs together (0: unknown)."""
        ...

    def collect(self, node: Node, now_ns: int) -> None:
        """Reads the tenants' acknowledgements."""
        ...

    def state(self) -> dict[str, Any]:
        """gate, in_flight, cooldown_ms, counters and budget, as admin's /state has them."""
        ...

    def waiting(self) -> tuple[int, int]:
        """Requests without a first token, and the bytes of their bodies. Any thread may ask."""
        ...

    def newest(self) -> Record:
        """Of the request that came last, if any is in flight: `readable_ns`, and `trace_id` and `span_id` if
        it is traced. Any thread may ask.
        """
        ...

    def add(self, record: Record) -> None:
        """Into the event log, made already."""
        ...

    def since(self, start: int, limit: int) -> dict[str, Any]:
        """As events.EventLog's."""
        ...
