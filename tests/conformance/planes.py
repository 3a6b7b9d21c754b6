"""The data planes under test. A new one is a new entry in KINDS."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Coroutine
from typing import Any

import uvloop

from valve_adapters.registry import by_name
from valve_sidecar.address import Address
from valve_sidecar.flight import DataPlane, Intake
from valve_sidecar.listener import Listener
from valve_sidecar.native_plane import NativePlane
from valve_sidecar.proxy import AiohttpPlane

from .wire import PATIENCE_S

Build = Callable[[str, str, Intake, float], tuple[DataPlane, Callable[[], str]]]


KINDS = {"aiohttp": AiohttpPlane, "native": NativePlane}


def builder(kind: str, **times_s: float) -> Build:
    """Of a data plane with other times than its own."""

    def build(listen: str, upstream: str, intake: Intake, connect_timeout_s: float) -> Any:
        ends = Listener(Address.parse(listen)), Address.parse(upstream)
        times = {"connect_timeout_s": connect_timeout_s} | times_s
        plane = KINDS[kind](*ends, by_name("openai"), intake, **times)
        return plane, lambda: str(plane.bound)

    return build


PLANES: dict[str, Build] = {kind: builder(kind) for kind in KINDS}


def build_reusing(listen: str, upstream: str, intake: Intake, connect_timeout_s: float) -> Any:
    """Native, before an engine that is known to keep connections open after streams."""
    plane, bound = PLANES["native"](listen, upstream, intake, connect_timeout_s)
    plane.reuse_streams(True)
    return plane, bound


LENIENT_TO_ENGINES = {"aiohttp"}
RELAYS_TRAILERS = {"native"}  # aiohttp's parser drops them; a proxy may (RFC 9110, 6.5.1)


class Running:
    """A started data plane on an event loop of its own, as in the product."""

    def __init__(
        self, build: Build, listen: str, upstream: str, intake: Intake, connect_timeout_s: float
    ) -> None:
        self._loop = uvloop.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._drained = False
        self._plane, bound = self._do(self._build(build, listen, upstream, intake, connect_timeout_s))
        self.address = bound()

    async def _build(self, build: Build, *arguments: Any) -> Any:
        plane, bound = build(*arguments)
        await plane.start()
        return plane, bound

    def successors_socket(self) -> socket.socket:
        """What another process would have been handed."""
        (listening,) = self._plane._listener.sockets
        return listening.dup()

    def begin_retire(self, patience_s: float) -> Any:
        """Returns a future. It has left its sockets by then."""
        retired = asyncio.run_coroutine_threadsafe(self._plane.retire(patience_s), self._loop)
        self._do(self._has_begun())
        return retired

    async def _has_begun(self) -> None:
        for _ in range(5):  # turns of the loop
            await asyncio.sleep(0)
        if isinstance(self._plane, NativePlane):
            assert await self._plane.responds(PATIENCE_S)  # after what it was told before

    def begin_drain(self, grace_s: float) -> Any:
        """Returns a future."""
        self._drained = True
        return asyncio.run_coroutine_threadsafe(self._plane.drain(grace_s), self._loop)

    def stop(self) -> None:
        """Cuts what is left, and insists that no task survives its exchange."""
        if not self._drained:
            self.begin_drain(0.01).result(PATIENCE_S)
        left = self._do(self._tasks_left())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(PATIENCE_S)
        self._loop.close()
        assert not left, f"tasks left behind: {left}"

    async def _tasks_left(self) -> list[str]:
        for _ in range(100):
            left = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
            if not left:
                return []
            await asyncio.sleep(0.01)
        return [repr(task) for task in left]

    def _do(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(PATIENCE_S)
