"""Owns the HTTP client: raw asyncio protocols that stamp bytes as they arrive, on kept connections."""

import asyncio
import time
from collections.abc import Callable
from typing import Any, cast

import orjson

from valve_loadgen.errors import BenchError
from valve_loadgen.exchange import Exchange
from valve_loadgen.sse import SseParser
from valve_loadgen.target import Target
from valve_loadgen.wire import ResponseParser, WireError

Event = tuple[int, bytes]


class Connection(asyncio.Protocol):
    """One connection; carries one request at a time. `sink` gets each body piece with its arrival stamp."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.lost = False
        self.requests = 0
        self._parser = ResponseParser()
        self._sink: Callable[[int, bytes], None] | None = None
        self._done: asyncio.Future[None] | None = None
        self.head_ns = self.done_ns = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        now_ns = time.monotonic_ns()
        if self._done is None or self._done.done():
            self.close()
            return
        self.head_ns = self.head_ns or now_ns
        self._feed(now_ns, data, self._done)

    def _feed(self, now_ns: int, data: bytes, done: asyncio.Future[None]) -> None:
        try:
            for piece in self._parser.feed(data):
                if self._sink:
                    self._sink(now_ns, piece)
            if self._parser.complete:
                self.done_ns = now_ns
                done.set_result(None)
        except WireError as error:
            done.set_exception(error)
            self.close()

    def connection_lost(self, exc: Exception | None) -> None:
        now_ns, self.lost = time.monotonic_ns(), True
        if self._done is None or self._done.done():
            return
        try:
            self._parser.end_of_stream()
            self.done_ns = now_ns
            self._done.set_result(None)
        except WireError as error:
            error.__cause__ = exc
            self._done.set_exception(error)

    async def ask(self, request: bytes, sink: Callable[[int, bytes], None]) -> ResponseParser:
        """Sends `request` and waits for the whole response. Raises WireError."""
        if self.lost or self.transport is None:
            raise WireError("the connection is closed")
        self._parser, self._sink = ResponseParser(), sink
        self._done = asyncio.get_running_loop().create_future()
        self.head_ns = self.done_ns = 0
        self.requests += 1
        self.transport.write(request)
        await self._done
        return self._parser

    def close(self) -> None:
        self.lost = True
        if self.transport:
            self.transport.abort()


class Client:
    """Sends requests to one target; keeps idle connections. To be closed."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self._idle: list[Connection] = []
        self._busy: set[Connection] = set()

    def close(self) -> None:
        """Aborts everything in flight, which is how the server learns of a cancel."""
        for connection in [*self._idle, *self._busy]:
            connection.close()
        self._idle.clear()

    async def stream(self, exchange: Exchange, path: str, body: dict[str, Any]) -> None:
        """Sends `body` as a streamed completion and fills `exchange` in; records failures, raises none."""
        events: list[Event] = []
        parser = SseParser()

        def sink(now_ns: int, piece: bytes) -> None:
            events.extend((now_ns, payload) for payload in parser.feed(piece))

        await self._record(exchange, self.request("POST", path, body, exchange.request_id), sink)
        exchange.read_events(events)

    async def stream_live(
        self, exchange: Exchange, path: str, body: dict[str, Any], on_event: Callable[[int, bytes], None]
    ) -> None:
        """Like `stream`, but hands each (arrival, payload) over as it comes and keeps none."""
        parser = SseParser()

        def sink(now_ns: int, piece: bytes) -> None:
            for payload in parser.feed(piece):
                on_event(now_ns, payload)

        await self._record(exchange, self.request("POST", path, body, exchange.request_id), sink)

    async def post(self, exchange: Exchange, path: str, body: dict[str, Any]) -> bytes:
        """Sends a request that is not streamed and returns the response's body."""
        pieces: list[bytes] = []
        request = self.request("POST", path, body, exchange.request_id)
        await self._record(exchange, request, lambda _now_ns, piece: pieces.append(piece))
        return b"".join(pieces)

    async def get(self, path: str) -> tuple[int, bytes]:
        """Status and body. Raises BenchError when there is no answer."""
        pieces: list[bytes] = []
        exchange = Exchange("", "", time.monotonic_ns())
        await self._record(exchange, self.request("GET", path), lambda _now_ns, piece: pieces.append(piece))
        if exchange.error:
            raise BenchError(f"{self.target}{path}: {exchange.error}")
        return exchange.status, b"".join(pieces)

    def request(
        self, method: str, path: str, body: dict[str, Any] | None = None, request_id: str = ""
    ) -> bytes:
        """The request's bytes."""
        content = b"" if body is None else orjson.dumps(body)
        lines = [f"{method} {path} HTTP/1.1", f"Host: {self.target.host}", f"Content-Length: {len(content)}"]
        if request_id:
            lines.append(f"X-Request-Id: {request_id}")
        if body is not None:
            lines.append("Content-Type: application/json")
        return "\r\n".join([*lines, "", ""]).encode() + content

    async def _record(self, exchange: Exchange, request: bytes, sink: Callable[[int, bytes], None]) -> None:
        try:
            connection = await self._connection()
            exchange.send_ns = time.monotonic_ns()
            parser = await self._ask(connection, request, sink)
            if parser is None:  # a kept connection that the server was closing just then: it read nothing
                connection = await self._connect()
                parser = await self._ask(connection, request, sink)
        except OSError as error:
            exchange.error = f"cannot connect to {self.target}: {error}"
        except WireError as error:
            exchange.error, exchange.head_ns = str(error), connection.head_ns
        else:
            assert parser
            exchange.status, exchange.head_ns, exchange.done_ns = (
                parser.status,
                connection.head_ns,
                connection.done_ns,
            )

    async def _ask(
        self, connection: Connection, request: bytes, sink: Callable[[int, bytes], None]
    ) -> ResponseParser | None:
        """None if a reused connection was lost before any byte came. Raises WireError."""
        self._busy.add(connection)
        try:
            parser = await connection.ask(request, sink)
        except WireError:
            if connection.requests > 1 and not connection.head_ns:
                return None
            raise
        except asyncio.CancelledError:
            connection.close()
            raise
        finally:
            self._busy.discard(connection)
        self._keep(connection, parser)
        return parser

    def _keep(self, connection: Connection, parser: ResponseParser) -> None:
        if parser.reusable and not connection.lost:
            self._idle.append(connection)
        else:
            connection.close()

    async def _connection(self) -> Connection:
        while self._idle:
            connection = self._idle.pop()
            if not connection.lost:
                return connection
        return await self._connect()

    async def _connect(self) -> Connection:
        loop = asyncio.get_running_loop()
        if self.target.path:
            return (await loop.create_unix_connection(Connection, self.target.path))[1]
        return (await loop.create_connection(Connection, self.target.host, self.target.port))[1]
