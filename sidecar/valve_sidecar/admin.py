"""The admin endpoint, on its own socket: /healthz, /readyz, /metrics; /, /live, /state, /events.

On a TCP address that is not loopback, without a token, only the first three are served (access.py).
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from socket import socket
from typing import Any

import orjson
from aiohttp import web

from .access import SOCKET_MODE, Access, Handler
from .address import Address
from .errors import SidecarError
from .listener import Listener
from .live import LivePage
from .metrics import render_metrics
from .sources import Sources

log = logging.getLogger(__name__)

IDLE_TIMEOUT_S = 75.0  # slow heads too: who cannot be refused must not take all descriptors for long
MAX_EVENTS = 1_000  # per answer: formatting them must not hold up requests

NOT_READY_STATUS = 503


class AdminServer:
    """Serves `sources` on `address` to whom access.py lets in. A unix socket is removed at the end."""

    def __init__(
        self, address: Address, sources: Sources, given: Sequence[socket] = (), token: bytes = b""
    ) -> None:
        self._address, self._sources = address, sources
        self._listener = Listener(address, given=given, option="--admin")
        self._access = Access(self._listener.bound, token)
        self._runner = web.AppRunner(self._app(), access_log=None, keepalive_timeout=IDLE_TIMEOUT_S)

    async def start(self) -> None:
        """Raises ListenError."""
        await self._runner.setup()
        for sock in self._listener.bind():
            await web.SockSite(self._runner, sock).start()
        if self.bound.path is not None:
            self.bound.path_object.chmod(SOCKET_MODE)
        if self._access.probes_only:
            log.info("admin on %s tells health and metrics only; more needs --admin-token-file", self.bound)

    async def stop(self) -> None:
        """May be called again."""
        self._listener.close()
        await self._runner.cleanup()

    async def leave(self) -> None:
        """A successor serves on the same sockets."""
        self._listener.leave()
        await self._runner.cleanup()

    @property
    def bound(self) -> Address:
        return self._listener.bound

    @property
    def sockets(self) -> list[socket]:
        return self._listener.sockets

    def _app(self) -> web.Application:
        app = web.Application(middlewares=[self._access.guard])
        routes: dict[str, Handler] = {
            "/healthz": self._healthz,
            "/readyz": self._readyz,
            "/metrics": self._metrics,
        }
        if not self._access.probes_only:
            live = LivePage(self._sources)
            app.on_shutdown.append(live.close)
            routes |= {"/": live.page, "/live": live.stream, "/state": self._state, "/events": self._events}
        for path, handler in routes.items():
            app.router.add_get(path, handler)
        return app

    async def _healthz(self, _request: web.Request) -> web.Response:
        if await self._sources.responds():
            return web.Response(text="ok\n")
        return web.Response(status=NOT_READY_STATUS, text="the data plane does not respond\n")

    async def _readyz(self, _request: web.Request) -> web.Response:
        problems = await self._sources.problems()
        if problems:
            return web.Response(status=NOT_READY_STATUS, text="".join(f"{problem}\n" for problem in problems))
        return web.Response(text="ready\n")

    async def _metrics(self, _request: web.Request) -> web.Response:
        body = render_metrics(await self._state_now())
        return web.Response(body=body, headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})

    async def _state(self, _request: web.Request) -> web.Response:
        return _json(await self._state_now())

    async def _state_now(self) -> dict[str, Any]:
        try:
            return await self._sources.state() | {"traces": self._sources.traces()}
        except SidecarError as error:
            raise web.HTTPServiceUnavailable(text=f"{error}\n") from error

    async def _events(self, request: web.Request) -> web.Response:
        try:
            since = int(request.query.get("since", "0"))
            limit = min(int(request.query.get("limit", str(MAX_EVENTS))), MAX_EVENTS)
        except ValueError:
            return web.Response(status=400, text="since and limit must be whole numbers\n")
        return _json(await self._sources.events(since, max(limit, 0)))


def _json(content: dict[str, Any]) -> web.Response:
    return web.Response(body=orjson.dumps(content), content_type="application/json")
