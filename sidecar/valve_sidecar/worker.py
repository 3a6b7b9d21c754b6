"""One sidecar worker: puts adapter, gate, intake and data plane together and tells their state."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import time
from pathlib import Path
from typing import Any

import httpx

from valve_adapters.adapter import Adapter, Kv, Load
from valve_adapters.registry import by_name, detect
from valve_runtime.errors import SegmentError, ValveRuntimeError
from valve_runtime.node import Node, Side, record_of

from .address import Address
from .config import Mode, ServeConfig
from .front import Front, Surroundings
from .listener import Listener
from .memory import MemoryKeeper
from .minute import Minute
from .policy import BUDGET
from .reclaim_limit import ReclaimLimit
from .reservation import FixedReservation, Reservation, Reserve
from .seat import HolderSeat
from .sources import Sources
from .version import installed_version

log = logging.getLogger(__name__)

ENGINE_TIMEOUT_S = 2.0  # for our own questions to the engine, never for requests
PRESS_S = 1.0  # policy budget: how often the engine is asked for its load
COLLECT_S = 0.25  # how often tenants' acknowledgements are read
KV_S = 1.0  # how often the engine's KV gauge is read, where memory is shared
DETECT_AGAIN_S = 5.0  # --engine auto while the engine is not up yet


class Worker:
    """`start`, then `drain`. One per process; all on one event loop, but for what a front runs elsewhere."""

    def __init__(
        self,
        config: ServeConfig,
        runtime_dir: Path,
        devices: tuple[str, ...],
        listener: Listener,
        number: int = 0,
    ) -> None:
        self._listener = listener
        self.config, self._runtime_dir = config, runtime_dir
        self.upstream = Address.parse(config.upstream)
        self._seat = HolderSeat(runtime_dir, f"{config.upstream}#{number}", devices)
        self._client = self.upstream.client(ENGINE_TIMEOUT_S)
        self._adapter: Adapter = by_name("openai")
        given = Surroundings(config, self.upstream, self._seat, number, listener, self._ask_engine)
        self._front = make_front(given, self._adapter)
        self._memory = MemoryKeeper(
            runtime_dir,
            devices,
            self._make_policy,
            lambda: self._front.waiting()[1],
            self._front.newest,
            store=config.mode is Mode.ENFORCE,
        )
        self._minute = Minute()
        self._tasks: list[asyncio.Task[None]] = []
        self._listening = False
        self._observer: Node | None = None
        self._drained = False
        self._capacity = 0  # requests that the engine runs together; 0: unknown

    async def start(self) -> None:
        """Raises ListenError, and ConfigError for an address that makes no sense."""
        await self._choose_adapter()
        self._memory.start()  # first: the native front makes this thread give way, and threads inherit that
        await self._front.start()
        self._listening = True
        self._tasks.append(asyncio.create_task(self._collect_for_ever(), name="valve-collect"))
        if self.config.policy == BUDGET and self.config.mode is not Mode.BYPASS:
            self._tasks.append(asyncio.create_task(self._press_for_ever(), name="valve-press"))
        self._tasks.append(asyncio.create_task(self._read_kv_for_ever(), name="valve-kv"))

    async def retire(self) -> None:
        """Others have our sockets: serves whoever is connected, for as long as the grace."""
        await self._front.retire(self.config.grace_s)

    async def drain(self) -> None:
        """Stops accepting, lets exchanges end, keeps tenants gated until then, gives everything back."""
        await self._front.drain(self.config.grace_s)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.to_thread(self._memory.stop)
        self._collect()
        self._drained = True
        await self._front.stop()
        if self._observer is not None:
            self._observer.close()
        await self._client.aclose()

    @property
    def listening_on(self) -> str:
        return str(self._listener.bound) if self._listening else self.config.listen

    @property
    def sockets(self) -> list[socket.socket]:
        return self._listener.sockets

    async def responds(self) -> bool:
        """Whether what carries requests is not hung."""
        return await self._front.responds()

    @property
    def sources(self) -> Sources:
        return Sources(self.state, self.read_events, self.problems, responds=self.responds)

    # ---- the engine ----

    async def _choose_adapter(self) -> None:
        if self.config.engine != "auto":
            return self._use(by_name(self.config.engine))
        try:
            self._use(await detect(self._client))
        except httpx.HTTPError:
            self._tasks.append(asyncio.create_task(self._detect_later(), name="valve-detect"))

    async def _detect_later(self) -> None:
        """The engine was not up: the generic rules serve until it is."""
        while True:
            await asyncio.sleep(DETECT_AGAIN_S)
            try:
                self._use(await detect(self._client))
            except httpx.HTTPError:
                continue
            return

    def _use(self, adapter: Adapter) -> None:
        self._adapter, self._capacity = adapter, 0
        self._front.use(adapter)

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

    async def _ask_capacity(self) -> int:
        try:
            return await self._adapter.capacity(self._client)
        except httpx.HTTPError:
            return 0

    async def _press_for_ever(self) -> None:
        """Policy budget: the engine's load while it has any."""
        warned = ""
        while True:
            await asyncio.sleep(PRESS_S)
            told = self._front.state()
            if told["budget"]["problem"] and not warned:
                log.warning("%s", told["budget"]["problem"])
            warned = told["budget"]["problem"]
            if told["in_flight"] and (load := await self._ask_engine()):
                self._capacity = self._capacity or await self._ask_capacity()
                self._front.press(waiting=load.waiting > 0, capacity=self._capacity)

    async def problems(self) -> list[str]:
        """Why this worker is not ready; empty if it is."""
        problems = [] if self._front.ready else [f"no gate: {self._seat.problem}"]
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
        return self._front.since(since, limit)

    async def state(self) -> dict[str, Any]:
        self._collect()
        node, ready = self._node(), self._front.ready
        now_ns, told = time.monotonic_ns(), self._front.state()
        told["counters"]["segment_refusals"] = self._seat.refusals
        return {
            "version": installed_version(),
            "pid": os.getpid(),
            "t_ns": now_ns,
            "mode": self.config.mode,
            "policy": self.config.policy,
            "engine": self._adapter.name,
            "data_plane": self._front.name,
            "upstream": str(self.upstream),
            "listen": self.listening_on,
            "listening": self._listening,
            "gated": ready and self.config.mode is Mode.ENFORCE,
            "problem": "" if ready else self._seat.problem,
            "workers": [],
            "holders": [record_of(view) for view in node.holders()] if node else [],
            "tenants": [record_of(view) for view in node.tenants()] if node else [],
            "memory": self._memory.state(),
            "shares": self._minute.shares(now_ns, told["counters"]),
        } | told

    # ---- memory ----

    def _make_policy(self, start_pages: int) -> Reserve:
        if self.config.kv_reserve is not None:
            return FixedReservation(self.config.kv_reserve)
        return Reservation(ReclaimLimit(self.config.reclaims_per_hour), start_pages)

    async def _read_kv_for_ever(self) -> None:
        while True:
            await asyncio.sleep(KV_S)
            if self._memory.active:
                self._memory.kv = await self._read_kv()

    async def _read_kv(self) -> Kv | None:
        """None if it does not tell: what it last told may be wrong by now."""
        try:
            return await self._adapter.kv(self._client)
        except httpx.HTTPError:
            return None
        except Exception:
            log.warning("cannot make out the engine's KV cache", exc_info=True)
            return None

    # ---- tenants ----

    def _node(self) -> Node | None:
        """The holder's own mapping, else a read-only one (modes observe and bypass)."""
        if self._seat.node is not None:
            return self._seat.node
        if self._observer is not None and self._observer.removed:
            self._observer.close()
            self._observer = None
        if self._observer is None:
            try:
                self._observer = Node.open(self._runtime_dir, Side.OBSERVER)
            except ValveRuntimeError:
                return None
        return self._observer

    def _collect(self) -> None:
        node = None if self._drained else self._node()
        if node is not None:
            self._front.collect(node, time.monotonic_ns())
        for record in self._memory.take_events():
            self._front.add(record)

    async def _collect_for_ever(self) -> None:
        while True:
            self._collect()
            if self._minute.is_due(now_ns := time.monotonic_ns()):
                self._minute.note(now_ns, self._front.state()["counters"])
            await asyncio.sleep(COLLECT_S)


def make_front(given: Surroundings, adapter: Adapter) -> Front:
    """Without the library the data plane on aiohttp serves, ungated: online traffic goes on. Only the one in
    use is imported: the other would take memory.
    """
    if given.config.data_plane == "native":
        from .native_front import NativeFront

        try:
            return NativeFront(given, adapter)
        except SegmentError as error:
            log.error("no native data plane, using aiohttp: %s", error)
    from .aiohttp_front import AiohttpFront

    return AiohttpFront(given, adapter)
