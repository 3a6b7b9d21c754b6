"""One sidecar worker: puts adapter, gate, intake and data plane together and tells their state."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import os
import socket
import time
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import httpx

from valve_adapters.adapter import Adapter, Load
from valve_adapters.registry import by_name, detect
from valve_runtime.errors import ValveRuntimeError
from valve_runtime.node import Node, Side

from .address import Address
from .config import Mode, ServeConfig
from .controller import State
from .cooldown import Cooldown
from .errors import ListenError
from .events import EventLog
from .gate import Gate, HolderSeat
from .intake import SidecarIntake
from .proxy import AiohttpPlane
from .sources import Sources
from .telemetry import Counters
from .tenants import TenantWatch
from .trace import Tracer

log = logging.getLogger(__name__)

ENGINE_TIMEOUT_S = 2.0  # for our own questions to the engine, never for requests
COLLECT_S = 0.25  # how often tenants' acknowledgements are read
DETECT_AGAIN_S = 5.0  # --engine auto while the engine is not up yet


class Worker:
    """`start`, then `drain`. One per process; all on one event loop."""

    def __init__(
        self, config: ServeConfig, runtime_dir: Path, devices: tuple[str, ...], number: int = 0
    ) -> None:
        self.config, self._runtime_dir = config, runtime_dir
        self.upstream = Address.parse(config.upstream)
        self.counters = Counters()
        self.events = EventLog(number)
        self._watch = TenantWatch(self.events, self.counters.preempted)
        self._seat = HolderSeat(runtime_dir, f"{config.upstream}#{number}", devices)
        self._cooldown = Cooldown(None if config.cooldown_ms is None else int(config.cooldown_ms * 1e6))
        self._client = self.upstream.client(ENGINE_TIMEOUT_S)
        self.gate = Gate(self._seat, config.mode, self._cooldown, self.events, self._ask_engine)
        self._adapter: Adapter = by_name("openai")
        self._tasks: list[asyncio.Task[None]] = []
        self.plane: AiohttpPlane | None = None
        self._observer: Node | None = None
        self._drained = False

    async def start(self, *, reuse_port: bool = False) -> None:
        """Raises ListenError, and ConfigError for an address that makes no sense."""
        self._adapter = await self._choose_adapter()
        self.intake = SidecarIntake(
            self._adapter,
            self.gate,
            self._cooldown,
            self.counters,
            self.events,
            self._watch,
            self.config.mode,
            Tracer(self.config.trace_share) if self.config.otlp_endpoint else None,
        )
        listen = Address.parse(self.config.listen)
        if self.config.mode is not Mode.BYPASS:
            self.gate.start()
        plane = AiohttpPlane(listen, self.upstream, self._adapter, self.intake, reuse_port=reuse_port)
        await plane.start()
        self.plane = plane
        self._tasks.append(asyncio.create_task(self._collect_for_ever(), name="valve-collect"))

    async def drain(self) -> None:
        """Stops accepting, lets exchanges end, keeps tenants gated until then, gives everything back."""
        if self.plane is not None:
            await self.plane.drain(self.config.grace_s)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._collect()
        self._drained = True
        await self.gate.stop()
        if self._observer is not None:
            self._observer.close()
        await self._client.aclose()

    @property
    def listening_on(self) -> str:
        return str(self.plane.bound) if self.plane else self.config.listen

    @property
    def sources(self) -> Sources:
        return Sources(self.state, self.read_events, self.problems)

    # ---- the engine ----

    async def _choose_adapter(self) -> Adapter:
        if self.config.engine != "auto":
            return by_name(self.config.engine)
        try:
            return await detect(self._client)
        except httpx.HTTPError:
            self._tasks.append(asyncio.create_task(self._detect_later(), name="valve-detect"))
            return by_name("openai")

    async def _detect_later(self) -> None:
        """The engine was not up: the generic rules serve until it is."""
        while True:
            await asyncio.sleep(DETECT_AGAIN_S)
            try:
                self._adapter = await detect(self._client)
            except httpx.HTTPError:
                continue
            self.intake.adapter = self._adapter
            return

    async def _ask_engine(self) -> Load | None:
        """None if it cannot tell. One that does not answer in time is taken for busy: the gate bounds
        that."""
        try:
            return await self._adapter.load(self._client)
        except httpx.TimeoutException:
            return Load(running=1, waiting=0)
        except httpx.HTTPError:
            return None
        except Exception:
            log.warning("cannot make out the engine's load", exc_info=True)
            return None

    async def problems(self) -> list[str]:
        """Why this worker is not ready; empty if it is."""
        problems = [] if self.gate.ready else [f"no gate: {self._seat.problem}"]
        try:
            path = self._adapter.health_path
            response = await self._client.get(path)
            if response.status_code >= 500:
                problems.append(f"engine {self.upstream}: {path} answers {response.status_code}")
        except httpx.HTTPError as error:
            problems.append(f"engine {self.upstream} cannot be reached: {type(error).__name__}")
        return problems

    # ---- what it tells ----

    async def read_events(self, since: int, limit: int) -> dict[str, Any]:
        self._collect()
        return self.events.since(since, limit)

    async def state(self) -> dict[str, Any]:
        self._collect()
        node = self._node()
        controller = self.gate.controller
        return {
            "version": installed_version(),
            "pid": os.getpid(),
            "t_ns": time.monotonic_ns(),
            "mode": self.config.mode,
            "policy": self.config.policy,
            "engine": self._adapter.name,
            "upstream": str(self.upstream),
            "listen": self.listening_on,
            "listening": self.plane is not None,
            "gate": "closed" if controller.state is State.ASKING else controller.state.value,
            "gated": self.gate.ready and self.config.mode is Mode.ENFORCE,
            "problem": self._seat.problem if not self.gate.ready else "",
            "in_flight": self.counters.in_flight,
            "cooldown_ms": self._cooldown.duration_ns / 1e6,
            "counters": self.counters.as_dict() | self._gate_counters(),
            "workers": [],
            "holders": [dataclasses.asdict(view) for view in node.holders()] if node else [],
            "tenants": [dataclasses.asdict(view) for view in node.tenants()] if node else [],
        }

    def _gate_counters(self) -> dict[str, float]:
        return {
            "gate_closes": self.gate.closes,
            "gate_closed_s": self.gate.closed_total_ns / 1e9,
            "lapses": self.gate.lapses,
            "holds_released": self.gate.controller.released,
            "acknowledgements_missed": self._watch.missed,
            "harvested_s": self._watch.harvested_ns(time.monotonic_ns()) / 1e9,
        }

    # ---- tenants ----

    def _node(self) -> Node | None:
        """The holder's own mapping, else a read-only one (modes observe and bypass)."""
        if self._seat.node is not None:
            return self._seat.node
        if self._observer is None:
            try:
                self._observer = Node.open(self._runtime_dir, Side.OBSERVER)
            except ValveRuntimeError:
                return None
        return self._observer

    def _collect(self) -> None:
        node = None if self._drained else self._node()
        if node is not None:
            self._watch.collect(node, time.monotonic_ns())

    async def _collect_for_ever(self) -> None:
        while True:
            await asyncio.sleep(COLLECT_S)
            self._collect()


@cache
def installed_version() -> str:
    try:
        return version("valve-sidecar")
    except PackageNotFoundError:
        return "0.1.0+checkout"


def reserve_port(address: Address) -> tuple[socket.socket, Address]:
    """Binds without listening, so that several workers can share one port that the kernel chose.

    Raises ListenError.
    """
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    reserved = socket.socket(family, socket.SOCK_STREAM)
    reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:  # another sidecar shares its port, too
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((address.host, address.port))
        reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        reserved.bind((address.host, address.port))
    except OSError as error:
        reserved.close()
        raise ListenError(f"cannot listen on {address}: {error.strerror}") from error
    return reserved, Address(host=address.host, port=reserved.getsockname()[1])
