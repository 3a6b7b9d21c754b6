"""Owns one HTTP connection of the client: raw sockets whose bytes carry the kernel's own receive stamps.

The stamp says when the bytes reached this machine's socket, however late this process got to read them. TLS
and unix sockets have none: there it is taken when the bytes are read.
"""

import asyncio
import contextlib
import socket
import ssl
import struct
import time
from collections.abc import Callable
from typing import Any, cast

from valve_loadgen.exchange import Exchange
from valve_loadgen.reader import Reader
from valve_loadgen.target import Target
from valve_loadgen.wire import ResponseParser, WireError

SO_TIMESTAMPNS = 35
STAMP = struct.Struct("@qq")
CONTROL_BYTES = 64
OFFSET_READINGS = 8
SHORTEST_END = 5  # bytes of the last chunk, "0\r\n\r\n": a shorter read may complete one
BUFFER = memoryview(bytearray(1 << 16))  # one for all: what was read is copied out at once
INTO = (BUFFER,)
Sink = Callable[[int, bytes], None]
OnEnd = Callable[["Connection", "Call"], None]


def realtime_offset_ns() -> int:
    """CLOCK_REALTIME, of the kernel's stamps, less CLOCK_MONOTONIC: constant unless somebody sets the time.

    The closest of a few readings, since the process may be stopped between two clocks.
    """
    readings = []
    for _ in range(OFFSET_READINGS):
        before_ns, real_ns, after_ns = time.monotonic_ns(), time.time_ns(), time.monotonic_ns()
        readings.append((after_ns - before_ns, real_ns - (before_ns + after_ns) // 2))
    return min(readings)[1]


class Call:
    """One request under way. `sink` gets body pieces with their arrival, `ended` hears of its end.

    `live`: every piece goes to `sink` at once; otherwise a stream's may be kept until it ends.
    """

    __slots__ = ("ended", "exchange", "live", "request", "retriable", "sink")

    def __init__(
        self, exchange: Exchange, request: bytes, sink: Sink, ended: Callable[[], None], live: bool = False
    ) -> None:
        self.exchange, self.request, self.sink, self.ended, self.live = exchange, request, sink, ended, live
        self.retriable = True


class Connection:
    """Carries one call at a time; `on_end(connection, call)` when that has its response, or its error."""

    def __init__(self, on_end: OnEnd) -> None:
        self.lost = False
        self.calls = 0
        self.parser = ResponseParser()
        self._on_end = on_end
        self._call: Call | None = None
        self._waiting: list[tuple[int, bytes]] = []
        self._eager = True

    def begin(self, call: Call) -> None:
        """Sends `call`'s request. The connection must be idle."""
        self._call, self.parser, self._eager = call, ResponseParser(), True
        self.calls += 1
        call.exchange.send_ns = time.monotonic_ns()
        self._write(call.request)

    def close(self) -> None:
        """Aborts what is in flight, which is how the server learns of a cancel."""
        self.lost = True
        self._close()
        if self._call is not None:
            self._parse()
        self._fail("closed by the client")

    def _write(self, data: bytes) -> None:
        raise NotImplementedError

    def _close(self) -> None:
        raise NotImplementedError

    def _received(self, at_ns: int, data: bytes) -> None:
        self._waiting.append((at_ns, data))
        # Streams are parsed when they seem to end: while they run, a read costs a stamp and an append.
        if self._eager or data.endswith(b"\r\n\r\n") or len(data) < SHORTEST_END:
            self._parse()

    def _parse(self) -> None:
        waiting, self._waiting = self._waiting, []
        call, parser, done_ns = self._call, self.parser, 0
        if call is None:
            self.close()  # bytes that nobody asked for
            return
        try:
            for done_ns, data in waiting:
                for piece in parser.feed(data):
                    call.sink(done_ns, piece)
        except WireError as error:
            self.lost = True
            self._close()
            self._fail(str(error))
            return
        exchange = call.exchange
        exchange.head_ns = exchange.head_ns or (waiting[0][0] if waiting else 0)
        self._eager = call.live or not parser.chunked
        if parser.complete:
            self._finish(call, done_ns)

    def _finish(self, call: Call, at_ns: int) -> None:
        call.exchange.done_ns, call.exchange.status = at_ns, self.parser.status
        self._call = None
        self._on_end(self, call)

    def _ended(self) -> None:
        """The peer has closed."""
        self.lost = True
        self._close()
        if self._call is not None:
            self._parse()
        call = self._call
        if call is not None:
            self._end_of_stream(call)

    def _end_of_stream(self, call: Call) -> None:
        try:
            self.parser.end_of_stream()
        except WireError as error:
            self._fail(str(error))
        else:
            self._finish(call, time.monotonic_ns())

    def _fail(self, reason: str) -> None:
        call, self._call = self._call, None
        if call is not None:
            self._waiting.clear()
            call.exchange.error = call.exchange.error or reason
            call.exchange.status, call.exchange.done_ns = self.parser.status, time.monotonic_ns()
            self._on_end(self, call)


class PlainConnection(Connection):
    """TCP with the kernel's stamps, or a unix socket."""

    def __init__(self, peer: socket.socket, reader: Reader, on_end: OnEnd) -> None:
        super().__init__(on_end)
        self._socket, self._reader, self._loop = peer, reader, asyncio.get_running_loop()
        self._unsent = b""
        self._offset_ns = realtime_offset_ns()
        if peer.family != socket.AF_UNIX:
            peer.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
            peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._reader.add(peer, self._readable)

    def _readable(self) -> None:
        try:
            size, control, _flags, _address = self._socket.recvmsg_into(INTO, CONTROL_BYTES)
        except BlockingIOError:
            return
        except OSError:
            size, control = 0, []
        if not size:
            self._ended()
            return
        if control:
            seconds, nanoseconds = STAMP.unpack_from(control[0][2])
            at_ns = seconds * 1_000_000_000 + nanoseconds - self._offset_ns
        else:
            at_ns = time.monotonic_ns()
        self._received(at_ns, bytes(BUFFER[:size]))

    def _write(self, data: bytes) -> None:
        try:
            sent = self._socket.send(data)
        except BlockingIOError:
            sent = 0
        except OSError as error:
            self.lost = True
            self._loop.call_soon(self._fail, f"cannot send: {error}")
            return
        if sent < len(data):
            self._unsent = data[sent:]
            self._loop.add_writer(self._socket, self._writable)

    def _writable(self) -> None:
        self._loop.remove_writer(self._socket)
        self._write(self._unsent)

    def _close(self) -> None:
        if self._socket.fileno() >= 0:
            self._reader.remove(self._socket)
            self._loop.remove_writer(self._socket)
            self._socket.close()


class TlsConnection(Connection, asyncio.Protocol):
    """TLS over an asyncio transport."""

    _transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._received(time.monotonic_ns(), data)

    def connection_lost(self, _exc: Exception | None) -> None:
        if not self.lost:
            self._ended()

    def _write(self, data: bytes) -> None:
        assert self._transport
        self._transport.write(data)

    def _close(self) -> None:
        if self._transport:
            self._transport.abort()


async def connect(target: Target, reader: Reader, on_end: OnEnd) -> Connection:
    """Opens a connection to `target`, to be read by `reader`. Raises OSError."""
    if target.tls:
        return await _connect_tls(target, on_end)
    if target.path:
        return PlainConnection(await _connected(socket.AF_UNIX, target.path), reader, on_end)
    loop = asyncio.get_running_loop()
    refused = OSError(f"{target.host} has no address")
    for found in await loop.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM):
        try:
            return PlainConnection(await _connected(found[0], found[4][:2]), reader, on_end)
        except OSError as error:
            refused = error
    raise refused


async def _connected(family: int, place: Any) -> socket.socket:
    peer = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    with contextlib.ExitStack() as undo:
        undo.callback(peer.close)
        await asyncio.get_running_loop().sock_connect(peer, place)
        undo.pop_all()
    return peer


async def _connect_tls(target: Target, on_end: OnEnd) -> Connection:
    context = ssl.create_default_context()
    made = asyncio.get_running_loop().create_connection(
        lambda: TlsConnection(on_end), target.host, target.port, ssl=context
    )
    return (await made)[1]
