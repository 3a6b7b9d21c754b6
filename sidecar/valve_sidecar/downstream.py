"""The client's side of a connection: takes note of each request the moment its head is complete."""

from __future__ import annotations

import socket
import struct
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError, LineTooLong
from aiohttp.http_parser import RawRequestMessage
from aiohttp.streams import StreamReader
from aiohttp.web_protocol import RequestHandler, RequestPayloadError

from .flight import Flight
from .refusal import Refusal

MAX_HEAD = 65536  # bytes of request line and headers together
RESET = struct.pack("ii", 1, 0)  # SO_LINGER: closing sends RST instead of FIN


class HeadTooLargeError(HttpProcessingError):
    code = 431
    message = "head too large"


@dataclass(frozen=True, slots=True)
class Arrival:
    """What was decided at the end of a head: refused, an inference flight, or neither (passed through)."""

    flight: Flight | None
    refusal: Refusal | None


NOT_SERVED = Refusal(400, "bad_request", "the connection ends with the request before this one")
Welcome = Callable[[RawRequestMessage, int], Arrival]  # head, readable_ns


class Sent(web.StreamResponse):
    """Tells aiohttp that the response is on the wire already, and whether the connection goes on."""

    def __init__(self, *, keep_alive: bool) -> None:
        super().__init__()
        self._keep_alive = keep_alive

    async def prepare(self, request: web.BaseRequest) -> None:  # noqa: ARG002
        return None

    async def write_eof(self, data: bytes = b"") -> None:  # noqa: ARG002
        return None


KEEP, CLOSE = Sent(keep_alive=True), Sent(keep_alive=False)


class HeadTap:
    """Stands in front of aiohttp's parser, so that no path to a parsed head can miss us."""

    def __init__(self, parser: Any, connection: Downstream) -> None:
        self._parser, self._connection = parser, connection
        self._body: StreamReader | None = None  # of the newest request
        self._head_bytes = 0
        self.pause_reading = parser.pause_reading
        self.message_consumed = parser.message_consumed
        self.set_upgraded = parser.set_upgraded

    def feed_data(self, data: bytes) -> tuple[Any, bool, bytes]:
        """As aiohttp's: (messages, upgraded, tail). Raises HttpProcessingError for what is not HTTP."""
        in_head = self._body is None or self._body.is_eof()
        try:
            result: tuple[Any, bool, bytes] = self._parser.feed_data(data)
        except HttpProcessingError:
            self._spoil_body()
            raise
        self._measure_head(len(data) if in_head and not result[0] else 0)
        for message, body in result[0]:
            self._body = body
            self._connection.head_complete(message)
        return result

    def _measure_head(self, size: int) -> None:
        self._head_bytes = self._head_bytes + size if size else 0
        if self._head_bytes > MAX_HEAD:
            raise HeadTooLargeError

    def _spoil_body(self) -> None:
        """The parser gives up without telling the reader of a body that it was in."""
        if self._body is not None and not self._body.is_eof():
            self._body.set_exception(RequestPayloadError("malformed body"))


class Downstream(RequestHandler):
    """aiohttp's connection handler, with arrivals noted in order and a hang-up acted upon at once."""

    __slots__ = ("_arrivals", "_drop", "_last", "_refuse", "_welcome", "readable_ns")

    def __init__(
        self,
        manager: web.Server,
        welcome: Welcome,
        drop: Callable[[Arrival], None],
        refuse: Callable[[Refusal], None],
        **options: Any,
    ) -> None:
        super().__init__(manager, **options)
        self._welcome, self._drop, self._refuse = welcome, drop, refuse
        self._arrivals: deque[Arrival] = deque()
        self._last: Arrival | None = None  # after which this connection ends
        self.readable_ns = 0
        self._parser: Any = HeadTap(self._parser, self)

    def data_received(self, data: bytes) -> None:
        if data:  # empty: aiohttp goes on with what it had kept back
            self.readable_ns = time.monotonic_ns()
        super().data_received(data)

    def head_complete(self, message: RawRequestMessage) -> None:
        """What follows a refused request or an upgrade will not be served: it does not arrive."""
        if self._last is None:
            arrival = self._welcome(message, self.readable_ns)
            self._last = arrival if arrival.refusal or message.upgrade else None
        else:
            arrival = Arrival(None, NOT_SERVED)
        self._arrivals.append(arrival)

    def claim(self) -> Arrival:
        """The arrival of the request that is being handled; from here on its handler ends the flight."""
        return self._arrivals.popleft()

    @property
    def busy(self) -> bool:
        return self._current_request is not None or bool(self._arrivals)

    def eof_received(self) -> None:
        """The client hung up. Half-closing counts as that, as it does for the engines themselves.

        TCP does not tell the two apart, and a cancelled request must not go on computing.
        """
        if self.busy and self.transport is not None:
            self.transport.abort()

    def connection_lost(self, exc: BaseException | None) -> None:
        super().connection_lost(exc)
        while self._arrivals:  # queued behind another request: their handlers will never run
            self._drop(self._arrivals.popleft())

    def cut(self, *, reset: bool) -> None:
        """Ends the connection in the middle of a response; `reset` where a plain end would look complete."""
        if self.transport is not None and reset:
            sock = self.transport.get_extra_info("socket")
            if sock.family != socket.AF_UNIX:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            self.transport.abort()
        self.force_close()

    def end_now(self) -> None:
        """The grace is over: what runs is cut, what idles is closed."""
        if self.busy:
            self.cut(reset=True)
        else:
            self.force_close()

    def handle_error(
        self,
        request: web.BaseRequest,  # noqa: ARG002
        status: int = 500,  # noqa: ARG002
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002
    ) -> web.StreamResponse:
        """Answers what is not HTTP, without repeating its bytes to the log: they may hold credentials."""
        if isinstance(exc, LineTooLong | HeadTooLargeError):
            refusal = Refusal(
                431, "bad_request", f"the request's head is too large; keep it below {MAX_HEAD} bytes"
            )
        else:
            refusal = Refusal(400, "bad_request", "the request is not well-formed HTTP/1.1; see RFC 9112")
        self._refuse(refusal)
        if self.transport is not None:
            self.transport.write(refusal.response(with_body=True, keep_alive=False))
        return CLOSE
