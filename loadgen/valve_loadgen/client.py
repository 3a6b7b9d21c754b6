"""Owns the HTTP client: which connection carries which request, and what is recorded of it."""

import asyncio
import time
from collections.abc import Callable
from typing import Any

import orjson

from valve_loadgen.connection import Call, Connection, Sink, connect
from valve_loadgen.errors import BenchError
from valve_loadgen.exchange import Exchange
from valve_loadgen.reader import Reader
from valve_loadgen.sse import SseParser
from valve_loadgen.target import Target


class Client:
    """Sends requests to one target; keeps idle connections. To be closed. `headers` go with every request."""

    def __init__(self, target: Target, headers: dict[str, str] | None = None) -> None:
        self.target = target
        self._headers = [f"{name}: {value}" for name, value in (headers or {}).items()]
        self._idle: list[Connection] = []
        self._busy: dict[Call, Connection] = {}
        self._connecting: dict[Call, asyncio.Task[None]] = {}
        self._reader: Reader | None = None

    @property
    def reader(self) -> Reader:
        """Reads this client's sockets; made in the loop that uses it."""
        self._reader = self._reader or Reader()
        return self._reader

    def close(self) -> None:
        """Aborts everything in flight, which is how the server learns of a cancel."""
        self.drop_all()
        for connection in self._idle:
            connection.close()
        self._idle.clear()
        if self._reader:
            self._reader.close()
            self._reader = None

    def drop_all(self) -> None:
        """Aborts every request in flight at once, as if its client had gone."""
        for call in [*self._connecting, *self._busy]:
            call.exchange.cancelled = True
            self.cancel(call)

    def cancel(self, call: Call) -> None:
        """Aborts `call` if it is still under way; its exchange then carries an error."""
        call.retriable = False
        if call in self._busy:
            self._busy[call].close()
        elif call in self._connecting:
            self._connecting.pop(call).cancel()
            self._fail(call, "closed by the client")

    async def open(self, count: int) -> None:
        """Has `count` idle connections ready. Raises BenchError."""
        try:
            opened = [connect(self.target, self.reader, self._on_end) for _ in range(count - len(self._idle))]
            self._idle += await asyncio.gather(*opened)
        except OSError as error:
            raise BenchError(f"cannot connect to {self.target}: {error}") from error

    def begin(self, call: Call) -> None:
        """Sends `call` now if a connection is idle, else once one is open; records failures, raises none."""
        while self._idle:
            connection = self._idle.pop()
            if not connection.lost:
                self._begin_on(connection, call)
                return
        self._connecting[call] = asyncio.create_task(self._connect(call))

    async def _connect(self, call: Call) -> None:
        try:
            connection = await connect(self.target, self.reader, self._on_end)
        except OSError as error:
            del self._connecting[call]
            self._fail(call, f"cannot connect to {self.target}: {error}")
            return
        del self._connecting[call]
        self._begin_on(connection, call)

    def _begin_on(self, connection: Connection, call: Call) -> None:
        self._busy[call] = connection
        connection.begin(call)

    def _fail(self, call: Call, reason: str) -> None:
        call.exchange.error = reason
        call.ended()

    def _on_end(self, connection: Connection, call: Call) -> None:
        del self._busy[call]
        exchange = call.exchange
        if exchange.error is None and connection.parser.reusable and not connection.lost:
            self._idle.append(connection)
        else:
            connection.close()
        if exchange.error and not exchange.head_ns and connection.calls > 1 and call.retriable:
            call.retriable = False  # a kept connection that the server was closing just then: it read nothing
            exchange.error = None
            self._connecting[call] = asyncio.create_task(self._connect(call))
        else:
            call.ended()

    def stream_call(self, exchange: Exchange, request: bytes, ended: Callable[[], None]) -> Call:
        """A call for `begin`: a streamed completion that fills `exchange` in, then calls `ended`."""
        events: list[tuple[int, bytes]] = []
        parser = SseParser()

        def sink(now_ns: int, piece: bytes) -> None:
            for payload in parser.feed(piece):
                events.append((now_ns, payload))  # noqa: PERF401 (a generator costs more for one item)

        def read() -> None:
            exchange.read_events(events)
            ended()

        return Call(exchange, request, sink, read)

    async def stream(self, exchange: Exchange, path: str, body: dict[str, Any]) -> None:
        """Sends `body` as a streamed completion and fills `exchange` in; records failures, raises none."""
        done = asyncio.Event()
        request = self.request("POST", path, body, exchange.request_id)
        await self._finished(self.stream_call(exchange, request, done.set), done)

    async def stream_live(
        self, exchange: Exchange, path: str, body: dict[str, Any], on_event: Callable[[int, bytes], None]
    ) -> None:
        """Like `stream`, but hands each (arrival, payload) over as it comes and keeps none."""
        parser = SseParser()

        def sink(now_ns: int, piece: bytes) -> None:
            for payload in parser.feed(piece):
                on_event(now_ns, payload)

        await self._ask(exchange, self.request("POST", path, body, exchange.request_id), sink)

    async def post(self, exchange: Exchange, path: str, body: dict[str, Any]) -> bytes:
        """Sends a request that is not streamed and returns the response's body."""
        pieces: list[bytes] = []
        request = self.request("POST", path, body, exchange.request_id)
        await self._ask(exchange, request, lambda _now_ns, piece: pieces.append(piece))
        return b"".join(pieces)

    async def get(self, path: str) -> tuple[int, bytes]:
        """Status and body. Raises BenchError when there is no answer."""
        pieces: list[bytes] = []
        exchange = Exchange("", "", time.monotonic_ns())
        await self._ask(exchange, self.request("GET", path), lambda _now_ns, piece: pieces.append(piece))
        if exchange.error:
            raise BenchError(f"{self.target}{path}: {exchange.error}")
        return exchange.status, b"".join(pieces)

    def request(
        self, method: str, path: str, body: dict[str, Any] | None = None, request_id: str = ""
    ) -> bytes:
        """The request's bytes."""
        content = b"" if body is None else orjson.dumps(body)
        lines = [f"{method} {self.target.base}{path} HTTP/1.1", f"Host: {self.target.authority}"]
        lines += [f"Content-Length: {len(content)}", *self._headers]
        if request_id:
            lines.append(f"X-Request-Id: {request_id}")
        if body is not None:
            lines.append("Content-Type: application/json")
        return "\r\n".join([*lines, "", ""]).encode() + content

    async def _ask(self, exchange: Exchange, request: bytes, sink: Sink) -> None:
        done = asyncio.Event()
        await self._finished(Call(exchange, request, sink, done.set, live=True), done)

    async def _finished(self, call: Call, done: asyncio.Event) -> None:
        self.begin(call)
        try:
            await done.wait()
        finally:
            self.cancel(call)
