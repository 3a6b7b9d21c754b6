"""Owns a relay between sidecar and engine that keeps what passes: the engine's own bytes, to compare with."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field

from valve_loadgen.target import Target


@dataclass
class Passed:
    """One request of the sidecar, and what the engine answered, as on the wire."""

    request: bytearray = field(default_factory=bytearray)
    response: bytearray = field(default_factory=bytearray)


class Tap:
    """Listens on a free port; either side's end ends the other."""

    def __init__(self, engine: Target) -> None:
        self._engine = engine
        self._passed: list[Passed] = []
        self._server: asyncio.Server | None = None
        self._relays: set[asyncio.Task[None]] = set()

    async def start(self) -> Target:
        self._server = await asyncio.start_server(self._begin, "127.0.0.1", 0)
        return Target(port=self._server.sockets[0].getsockname()[1])

    async def close(self) -> None:
        if self._server:
            self._server.close()
        for relay in self._relays:
            relay.cancel()
        await asyncio.gather(*self._relays, return_exceptions=True)

    def answer(self, request_id: str) -> bytes:
        """The engine's response to the request with this X-Request-Id."""
        (found,) = [each for each in self._passed if request_id.encode() in each.request]
        return bytes(found.response)

    def _begin(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        relay = asyncio.create_task(self._relay(reader, writer))
        self._relays.add(relay)
        relay.add_done_callback(self._relays.discard)

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        engine_reader, engine_writer = await asyncio.open_connection(self._engine.host, self._engine.port)
        held = [Passed()]
        self._passed += held
        ways = [
            asyncio.ensure_future(self._requests(reader, engine_writer, held)),
            asyncio.ensure_future(self._responses(engine_reader, writer, held)),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            for each in (writer, engine_writer):
                each.close()
                with contextlib.suppress(OSError):
                    await each.wait_closed()

    async def _requests(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, held: list[Passed]
    ) -> None:
        while data := await reader.read(1 << 16):
            if held[-1].response:  # the connection is used again
                held.append(Passed())
                self._passed.append(held[-1])
            held[-1].request += data
            writer.write(data)
            await writer.drain()

    async def _responses(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, held: list[Passed]
    ) -> None:
        while data := await reader.read(1 << 16):
            held[-1].response += data
            writer.write(data)
            await writer.drain()
