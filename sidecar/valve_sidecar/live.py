"""Pushes frames (picture.py) to whoever watches, as server-sent events; without a watcher it does nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from importlib.resources import files
from typing import Any

import orjson
from aiohttp import web

from .errors import SidecarError
from .picture import Picture, Record
from .sources import Sources

LOOK_S = 0.1  # a change in a quiet time is shown within this and one frame's way to the browser
REST_S = 0.2  # after a frame: what changes all the time is shown within this
BEAT_S = 1.0  # a frame comes at least so often
HISTORY = 4_000  # events of the past that a new watcher's figures begin with
SLICE = 100  # events formatted at a time
MAX_WATCHERS = 8
ENDLESS = 1 << 62

SECURITY = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline';"
    " connect-src 'self'; img-src data:; frame-ancestors 'none'; base-uri 'none'",
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


class Watch:
    """One watcher: where it is in the event log, and its picture."""

    def __init__(self, sources: Sources, closing: asyncio.Event) -> None:
        self._sources, self._closing = sources, closing
        self._picture = Picture()
        self._next = 0
        self._told: list[Any] = []
        self._told_ns = 0

    async def frames(self) -> AsyncIterator[Record]:
        """A frame when something has changed, and every BEAT_S, until the sidecar stops."""
        end = await self._sources.events(ENDLESS, 0)
        self._next = max(end["next"] - HISTORY, 0)
        while not self._closing.is_set():
            await self._read()
            pause_s = LOOK_S
            with suppress(SidecarError):  # no worker answers: they are being started again
                state = await self._sources.state()
                if self._is_due(state):
                    yield self._picture.frame(state)
                    pause_s = REST_S
            with suppress(TimeoutError):
                async with asyncio.timeout(pause_s):
                    await self._closing.wait()

    async def _read(self) -> None:
        while True:
            told = await self._sources.events(self._next, SLICE)
            self._next = told["next"]
            self._picture.take(told["events"])
            if len(told["events"]) < SLICE:
                return
            await asyncio.sleep(0)  # between slices requests come first

    def _is_due(self, state: Record) -> bool:
        shown = [state["gate"], state["in_flight"], self._next]
        shown += [(tenant["row"], tenant["state"]) for tenant in state["tenants"]]
        if shown == self._told and state["t_ns"] - self._told_ns < BEAT_S * 1e9:
            return False
        self._told, self._told_ns = shown, state["t_ns"]
        return True


class LivePage:
    """The page, and its stream."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources
        self._page = files(__package__).joinpath("page.html").read_bytes()
        self._watchers = 0
        self._closing = asyncio.Event()

    async def close(self, _app: web.Application) -> None:
        """Ends the streams: the server waits for them."""
        self._closing.set()

    async def page(self, _request: web.Request) -> web.Response:
        return web.Response(body=self._page, content_type="text/html", charset="utf-8", headers=SECURITY)

    async def stream(self, request: web.Request) -> web.StreamResponse:
        if self._watchers >= MAX_WATCHERS:
            return web.Response(status=503, text=f"{MAX_WATCHERS} watch already; close a page\n")
        headers = {"Content-Type": "text/event-stream", "Cache-Control": "no-store"}
        response = web.StreamResponse(headers=headers)
        await response.prepare(request)
        self._watchers += 1
        try:
            async for frame in Watch(self._sources, self._closing).frames():
                await response.write(b"data: " + orjson.dumps(frame) + b"\n\n")
        except ConnectionError:
            pass  # it has seen enough
        finally:
            self._watchers -= 1
        return response
