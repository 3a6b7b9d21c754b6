"""Writes one HTTP message to a connection: framed, at once, and at the pace of its reader."""

from __future__ import annotations

from aiohttp.base_protocol import BaseProtocol

from .headers import Framing

LAST_CHUNK = b"0\r\n\r\n"


class Sink:
    """`begin`, then any number of `put` and `drain`. Raises ConnectionError when the connection is gone."""

    def __init__(self, protocol: BaseProtocol, framing: Framing) -> None:
        self._protocol, self._chunked = protocol, framing is Framing.CHUNKED

    def begin(self, head: bytes, data: bytes, *, last: bool) -> None:
        """The head and what is there of the body, in one write (one packet for most messages)."""
        self._write(head + self._framed(data, last=last))

    def put(self, data: bytes, *, last: bool = False) -> None:
        """More of the body; `drain` before the next, or memory grows with a slow reader."""
        self._write(self._framed(data, last=last))

    @property
    def full(self) -> bool:
        """Its reader takes less than comes."""
        return self._protocol.writing_paused

    async def drain(self) -> None:
        """Returns when the reader has room for more."""
        if self.full:
            await self._protocol._drain_helper()

    def _framed(self, data: bytes, *, last: bool) -> bytes:
        if not self._chunked:
            return data
        chunk = b"%x\r\n%b\r\n" % (len(data), data) if data else b""
        return chunk + LAST_CHUNK if last else chunk

    def _write(self, data: bytes) -> None:
        transport = self._protocol.transport
        if transport is None or transport.is_closing():
            raise ConnectionResetError("the connection is closed")
        if data:
            transport.write(data)
