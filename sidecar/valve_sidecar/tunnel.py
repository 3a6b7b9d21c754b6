"""An upgraded connection (WebSocket): raw bytes both ways, each at the pace of its reader."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from aiohttp.base_protocol import BaseProtocol
from aiohttp.client_proto import ResponseHandler
from aiohttp.streams import EMPTY_PAYLOAD

from .downstream import Downstream


class Pipe:
    """One direction. aiohttp feeds it as it would feed its WebSocket parser."""

    def __init__(self, source: BaseProtocol, target: BaseProtocol, seen: Callable[[bytes], None]) -> None:
        self._source, self._target, self._seen = source, target, seen
        self._resume: asyncio.Task[None] | None = None
        self.ended = asyncio.Event()

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        transport = self._target.transport
        if transport is None or transport.is_closing():
            self.ended.set()
            return False, b""
        self._seen(data)
        transport.write(data)
        if self._target.writing_paused and self._resume is None:
            self._source._pause_reading_for_buffer()
            self._resume = asyncio.create_task(self._resume_when_drained())
        return False, b""

    def feed_eof(self) -> None:
        self.ended.set()

    async def _resume_when_drained(self) -> None:
        try:
            await self._target._drain_helper()
        except ConnectionError:
            self.ended.set()
        self._resume = None
        self._source._resume_reading_for_buffer()


async def join(client: Downstream, engine: ResponseHandler, seen: Callable[[bytes], None]) -> None:
    """Carries bytes until the engine's side ends; the client's end cancels the caller."""
    down, up = Pipe(engine, client, seen), Pipe(client, engine, seen)
    engine.set_parser(down, EMPTY_PAYLOAD)
    client.set_parser(up)  # type: ignore[arg-type]  # a WebSocketReader, of which it calls these two methods
    ends = [asyncio.ensure_future(pipe.ended.wait()) for pipe in (down, up)]
    try:
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for end in ends:
            end.cancel()
