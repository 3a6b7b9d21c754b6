"""One request and its response on their way through: bodies as they come, cancellation both ways."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from aiohttp import web
from aiohttp.client_exceptions import ClientError
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.http_parser import RawRequestMessage, RawResponseMessage
from aiohttp.streams import StreamReader
from aiohttp.web_protocol import RequestPayloadError

from .downstream import Downstream
from .flight import Flight, Intake
from .headers import (
    Framing,
    RawHeaders,
    members,
    request_framing,
    request_head,
    response_framing,
    response_head,
    without,
)
from .objections import origin_target
from .refusal import Refusal
from .sink import Sink
from .tunnel import join
from .upstream import Upstream

log = logging.getLogger(__name__)
ENGINE_ERRORS = (ClientError, OSError, HttpProcessingError)
CLOSE = ((b"Connection", b"close"),)
KEEP_ALIVE = ((b"Connection", b"keep-alive"),)  # HTTP/1.1 need not say so
UPGRADE = ((b"Connection", b"Upgrade"), (b"Upgrade", b"websocket"))


class BrokenResponseError(Exception):
    """The engine's response ended before its end. `framed`: the client can tell by itself."""

    def __init__(self, *, framed: bool) -> None:
        super().__init__("the engine's response was cut short")
        self.framed = framed


class Upload:
    """A request's body on its way to the engine. Fails quietly: the response, or its absence, tells."""

    def __init__(
        self, body: StreamReader, sink: Sink, abort: Callable[[], None], ended: Callable[[], None]
    ) -> None:
        self._body, self._sink, self._abort, self._ended = body, sink, abort, ended
        self._task: asyncio.Task[None] | None = None
        self.complete = self.malformed = False

    def begin(self, head: bytes) -> None:
        """Sends the head and what is there of the body; a task sends the rest. Raises ConnectionError."""
        data = self._body.read_nowait()
        self.complete = self._body.at_eof()
        self._sink.begin(head, data, last=self.complete)
        if not self.complete:
            self._task = asyncio.create_task(self._send_rest())

    async def stop(self) -> None:
        if self._task is not None and not self._task.done():
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _send_rest(self) -> None:
        try:
            while not self.complete:
                data = await self._body.readany()
                last = self._body.at_eof()
                self._sink.put(data, last=last)
                await self._sink.drain()
                self.complete = last
            self._ended()
        except RequestPayloadError:
            self.malformed = True
            self._abort()
        except OSError:
            pass  # the engine's side is gone, or the client's, which cancels the exchange
        except Exception:
            log.exception("sending a request's body")
            self._abort()


class Exchange:
    """Carries one request. `run` once; then `status` is what the client was told (0: nothing)."""

    def __init__(
        self,
        request: web.BaseRequest,
        client: Downstream,
        upstream: Upstream,
        intake: Intake,
        flight: Flight | None,
    ) -> None:
        self._message: RawRequestMessage = request._message
        self._body, self._client, self._upstream = request.content, client, upstream
        self._intake, self._flight = intake, flight
        self._http10 = tuple(self._message.version) == (1, 0)
        self._upgrade = is_websocket(self._message)
        self.status = 0
        self._streamed = False
        self.last = False  # on its connection

    async def run(self) -> bool:
        """Returns whether the client's connection can go on.

        Raises Refusal (nothing was sent yet), BrokenResponseError, ConnectionError (the client is gone).
        """
        connection = await self._upstream.connect()
        engine = self._upstream.expect(connection, self._message.method)
        upload = Upload(self._body, Sink(engine, self._framing), engine.abort, self._upload_ended)
        finished = False
        try:
            keep = await self._carry(engine, upload)
            finished = upload.complete and not self._streamed
        except BaseException:
            self._abandon(engine)
            raise
        finally:
            await self._leave(connection, upload, reusable=finished)
        return keep

    async def _carry(self, engine: ResponseHandler, upload: Upload) -> bool:
        head, body = await self._first_response(engine, upload)
        if head.code == 101:
            return await self._switch(engine, head)
        return await self._respond(engine, upload, head, body)

    def _abandon(self, engine: ResponseHandler) -> None:
        """The engine sees the close at once, whatever is unsent; only a WebSocket's bytes still go out."""
        if self.status != 101:
            engine.abort()

    async def _leave(self, connection: Connection, upload: Upload, *, reusable: bool) -> None:
        """After a stream the connection is not reused: llama.cpp closes it right then, without saying so."""
        try:
            await upload.stop()
        finally:  # the client may go, and cancel us, right now
            if reusable:
                connection.release()  # closes it too, if the response said so or became something else
            else:
                connection.close()

    # ---- request ----

    @property
    def _framing(self) -> Framing:
        return request_framing(self._message.raw_headers, chunked=self._message.chunked)

    def _request_head(self) -> bytes:
        raw: RawHeaders = self._message.raw_headers
        if self._http10:
            raw = without(raw, b"expect")
        own = list(UPGRADE) if self._upgrade else []
        if self._flight is not None and (traceparent := self._flight.traceparent) is not None:
            raw = without(raw, b"traceparent")
            own.append((b"traceparent", traceparent))
        line = f"{self._message.method} {origin_target(self._message)} HTTP/1.1"
        return request_head(line, raw, self._framing, host=self._upstream.address.authority, own=own)

    async def _first_response(
        self, engine: ResponseHandler, upload: Upload
    ) -> tuple[RawResponseMessage, StreamReader]:
        """The final response's head; interim ones are passed on. Raises Refusal."""
        try:
            upload.begin(self._request_head())
        except OSError as error:
            raise self._no_response(error, upload) from error
        while True:
            head, body = await self._next_head(engine, upload)
            if head.code >= 200 or (head.code == 101 and self._upgrade):
                return head, body
            self._pass_interim(head)

    async def _next_head(
        self, engine: ResponseHandler, upload: Upload
    ) -> tuple[RawResponseMessage, StreamReader]:
        try:
            return await engine.read()
        except ENGINE_ERRORS as error:
            raise self._no_response(error, upload) from error

    def _pass_interim(self, head: RawResponseMessage) -> None:
        if head.code == 101:
            raise Refusal(502, "upstream_malformed", f"{self._engine} switched protocols without being asked")
        expected = head.code != 100 or b"100-continue" in members(self._message.raw_headers, b"expect")
        if expected and not self._http10:
            self._send_bodiless(head)

    def _no_response(self, error: BaseException, upload: Upload) -> Refusal:
        if upload.malformed:
            return Refusal(400, "bad_request", "the request's body is malformed; see RFC 9112, 7.1")
        if isinstance(error, HttpProcessingError):
            return Refusal(
                502, "upstream_malformed", f"{self._engine} sent a malformed response; look into its log"
            )
        problem = f"{self._engine} closed the connection before answering; look into its log"
        return Refusal(502, "upstream_reset", problem)

    # ---- response ----

    async def _respond(
        self, engine: ResponseHandler, upload: Upload, head: RawResponseMessage, body: StreamReader
    ) -> bool:
        framing = response_framing(
            head.raw_headers,
            method=self._message.method,
            status=head.code,
            chunked=head.chunked,
            http10=self._http10,
        )
        self._streamed = head.chunked
        keep = self._can_keep(framing, upload)
        sink = Sink(self._client, framing)
        data, last = self._available(body, framing)
        sink.begin(self._response_head(head, framing, keep=keep), data, last=last)
        self.status = head.code
        self._note(data)
        while not last:
            await self._drain(sink)
            data, last = await self._next(body, framing)
            sink.put(data, last=last)
            self._note(data)
        await sink.drain()  # or the answers to a client that asks on and does not read would pile up
        self._check_end(engine, head, framing)
        return keep

    def _can_keep(self, framing: Framing, upload: Upload) -> bool:
        """Not after an early response, nor after an upgrade that nobody took: what follows is not for us."""
        said_close = self._message.should_close or self._message.upgrade or self.last
        return upload.complete and not said_close and framing is not Framing.UNTIL_CLOSE

    def _response_head(self, head: RawResponseMessage, framing: Framing, *, keep: bool) -> bytes:
        kept = KEEP_ALIVE if self._http10 else ()
        line = f"HTTP/1.1 {head.code} {head.reason}"
        try:
            return response_head(line, head.raw_headers, framing, head.code, kept if keep else CLOSE)
        except ValueError as error:
            problem = f"{self._engine} sent a malformed response ({error})"
            raise Refusal(502, "upstream_malformed", problem) from error

    def _available(self, body: StreamReader, framing: Framing) -> tuple[bytes, bool]:
        try:
            return body.read_nowait(), body.at_eof()
        except ENGINE_ERRORS as error:
            raise BrokenResponseError(framed=framing is not Framing.UNTIL_CLOSE) from error

    async def _next(self, body: StreamReader, framing: Framing) -> tuple[bytes, bool]:
        try:
            return await body.readany(), body.at_eof()
        except ENGINE_ERRORS as error:
            raise BrokenResponseError(framed=framing is not Framing.UNTIL_CLOSE) from error

    def _check_end(self, engine: ResponseHandler, head: RawResponseMessage, framing: Framing) -> None:
        """A body that ends with its connection: aiohttp takes a reset for the end."""
        delimited = head.chunked or framing in (Framing.LENGTH, Framing.NONE)
        if not delimited and isinstance(engine.exception(), OSError):
            raise BrokenResponseError(framed=False)

    async def _switch(self, engine: ResponseHandler, head: RawResponseMessage) -> bool:
        self._send_bodiless(head, own=UPGRADE)
        self.status = 101
        await join(self._client, engine, self._note)
        return False

    def _send_bodiless(self, head: RawResponseMessage, own: RawHeaders = ()) -> None:
        line = f"HTTP/1.1 {head.code} {head.reason}"
        reply = response_head(line, head.raw_headers, Framing.NONE, head.code, own)
        Sink(self._client, Framing.NONE).begin(reply, b"", last=True)

    def _upload_ended(self) -> None:
        """The engine begins only now: a slow upload may have been given up as a hold without progress."""
        if self._flight is not None:
            self._intake.progress(self._flight, b"")

    @property
    def _engine(self) -> str:
        return f"the engine at {self._upstream.address}"

    async def _drain(self, sink: Sink) -> None:
        """The engine is not read meanwhile."""
        if self._flight is None or not sink.full:
            return await sink.drain()
        self._intake.hold_back(self._flight, held=True)
        await sink.drain()
        self._intake.hold_back(self._flight, held=False)

    def _note(self, data: bytes) -> None:
        if data and self._flight is not None:
            self._intake.progress(self._flight, data)


def is_websocket(message: RawRequestMessage) -> bool:
    """Whether the connection is to become a WebSocket. Other upgrades are ignored (RFC 9110, 7.8)."""
    wanted = message.upgrade and message.method == "GET" and tuple(message.version) == (1, 1)
    return (
        bool(wanted) and members(message.raw_headers, b"upgrade") == {b"websocket"} and not _has_body(message)
    )


def _has_body(message: RawRequestMessage) -> bool:
    return message.chunked or message.headers.get("Content-Length", "0") != "0"
