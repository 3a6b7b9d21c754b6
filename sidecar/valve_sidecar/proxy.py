"""The data plane on aiohttp: its low-level server towards clients, its connector towards the engine."""

from __future__ import annotations

import asyncio
import logging
import re
import time
from contextlib import suppress

import aiohttp
from aiohttp import web
from aiohttp.http_parser import HttpRequestParser, RawRequestMessage

from valve_adapters.adapter import Adapter

from .address import Address
from .downstream import CLOSE, KEEP, Arrival, Downstream
from .errors import SidecarError
from .flight import Flight, Head, Intake, Outcome
from .listener import Listener
from .objections import objection, origin_target
from .refusal import Refusal
from .relay import BrokenResponseError, Exchange, is_websocket
from .upstream import Upstream

log = logging.getLogger(__name__)
FIT_AIOHTTP = re.compile(r"3\.14\.([5-9]|\d\d)")
CONNECT_TIMEOUT_S = 5.0
IDLE_TIMEOUT_S = 75.0  # of a client's connection, counted from its last response: bounds slow heads too
LAST_CALL_S = 2.0  # the same once we drain
LINGER_S = 2.0  # how long we read on after an early response, so that a reset does not destroy it
LOOK_S = 0.1  # how often a retiring plane looks who is still connected
CUT_WAIT_S = 1.0  # for exchanges that drain has cut to notice
READ_SIZE = 65536  # bytes per request body held before we stop reading from the client (twice this)
OPTIONS = {
    "access_log": None,
    "auto_decompress": False,
    "lingering_time": LINGER_S,
    "logger": log,
    "max_field_size": 32768,
    "max_headers": 256,
    "max_line_size": 32768,
    "read_bufsize": READ_SIZE,
}


class AiohttpPlane:
    """Implements flight.DataPlane. `bound` is the real address once started (port 0 is allowed)."""

    def __init__(
        self,
        listener: Listener,
        upstream: Address,
        adapter: Adapter,
        intake: Intake,
        *,
        connect_timeout_s: float = CONNECT_TIMEOUT_S,
        idle_timeout_s: float = IDLE_TIMEOUT_S,
        last_call_s: float = LAST_CALL_S,
    ) -> None:
        self._intake = intake
        self._upstream = Upstream(upstream, adapter.keepalive_s, connect_timeout_s)
        self._listener = listener
        self._idle_timeout_s, self._last_call_s = idle_timeout_s, last_call_s
        self._server: web.Server | None = None
        self._idle = asyncio.Event()
        self._idle.set()
        self._exchanges = 0
        self._retiring = self._cutting = False

    @property
    def bound(self) -> Address:
        return self._listener.bound

    async def start(self) -> None:
        """Raises ListenError, and SidecarError without a fit aiohttp."""
        require_fit_aiohttp()
        self._upstream.open()
        self._server = web.Server(self._handle, handler_cancellation=True)
        await self._listener.open(self._connection)

    async def retire(self, patience_s: float) -> None:
        self._retiring = True
        self._listener.leave()
        with suppress(TimeoutError):
            await asyncio.wait_for(self._wait_deserted(self._idle_timeout_s), patience_s)

    async def drain(self, grace_s: float) -> None:
        self._retiring = True
        self._listener.close()
        try:
            await asyncio.wait_for(self._wait_deserted(self._last_call_s), grace_s)
        except TimeoutError:
            log.warning("cutting %d exchanges after %g s of grace", self._exchanges, grace_s)
        await self._cut()
        await self._upstream.close()

    async def _wait_deserted(self, patience_s: float) -> None:
        """Until nobody is connected. Each is served once more; who says nothing for so long is let go."""
        silent_since_s: dict[Downstream, float] = {}
        while self._connections:
            for connection in self._connections:
                if connection.busy:
                    silent_since_s.pop(connection, None)
                elif time.monotonic() - silent_since_s.setdefault(connection, time.monotonic()) > patience_s:
                    connection.force_close()
            await asyncio.sleep(LOOK_S)

    @property
    def _connections(self) -> list[Downstream]:
        assert self._server is not None
        return self._server.connections  # type: ignore[return-value]

    async def _cut(self) -> None:
        self._cutting = True
        for connection in self._connections:
            connection.end_now()
        try:
            await asyncio.wait_for(self._idle.wait(), CUT_WAIT_S)
        except TimeoutError:
            log.error("%d exchanges did not end when cut", self._exchanges)

    def _connection(self) -> Downstream:
        assert self._server is not None
        return Downstream(
            self._server,
            self._welcome,
            self._drop,
            self._refused,
            loop=asyncio.get_running_loop(),
            keepalive_timeout=self._idle_timeout_s,
            **OPTIONS,
        )

    # ---- arrivals ----

    def _welcome(self, message: RawRequestMessage, readable_ns: int) -> Arrival:
        """The first thing that happens to a request: its head is complete, nothing of its body was read."""
        if (refusal := objection(message)) is not None:
            return Arrival(None, refusal)
        self._exchanges += 1
        self._idle.clear()
        path = origin_target(message).partition("?")[0]
        head = Head(message.method, path, message.headers, is_websocket(message), readable_ns)
        return Arrival(self._intake.arrive(head), None)

    def _drop(self, arrival: Arrival) -> None:
        """A request that was never passed on, because its connection ended first."""
        if arrival.refusal is None:
            self._finish(arrival.flight, Outcome.REFUSED, 0)

    def _finish(self, flight: Flight | None, outcome: Outcome, status: int) -> None:
        if flight is not None:
            self._intake.finish(flight, outcome, status)
        self._exchanges -= 1
        if not self._exchanges:
            self._idle.set()

    def _refused(self, refusal: Refusal) -> None:
        self._intake.count_error(refusal.kind)

    # ---- requests ----

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        client: Downstream = request.protocol  # type: ignore[assignment]
        arrival = client.claim()
        if arrival.refusal is not None:
            return self._answer(client, request, arrival.refusal, keep=False)
        exchange = Exchange(request, client, self._upstream, self._intake, arrival.flight)
        exchange.last = self._retiring
        outcome = Outcome.CLIENT_GONE
        try:
            outcome, response = await self._carry(exchange, request, client)
        except asyncio.CancelledError:
            outcome = Outcome.REFUSED if self._cutting else Outcome.CLIENT_GONE
            raise
        finally:
            self._finish(arrival.flight, outcome, exchange.status)
        return response

    async def _carry(
        self, exchange: Exchange, request: web.BaseRequest, client: Downstream
    ) -> tuple[Outcome, web.StreamResponse]:
        try:
            return Outcome.COMPLETED, KEEP if await exchange.run() else CLOSE
        except Refusal as refusal:
            exchange.status = refusal.status
            outcome = Outcome.REFUSED if refusal.status < 500 else Outcome.UPSTREAM_FAILED
            return outcome, self._answer(
                client, request, refusal, keep=not self._retiring and may_keep(request)
            )
        except BrokenResponseError as broken:
            self._intake.count_error("upstream_reset")
            client.cut(reset=not broken.framed)
            return Outcome.UPSTREAM_FAILED, CLOSE
        except ConnectionError:
            return Outcome.CLIENT_GONE, CLOSE
        except Exception:
            log.exception("relaying %s", request.method)
            return Outcome.UPSTREAM_FAILED, self._give_up(exchange, request, client)
        finally:
            if request.content.exception() is not None:
                client.force_close()  # aiohttp would try to read the rest

    def _give_up(
        self, exchange: Exchange, request: web.BaseRequest, client: Downstream
    ) -> web.StreamResponse:
        """An error of ours. What has begun is cut: it must not look complete."""
        if exchange.status:
            self._intake.count_error("internal")
            client.cut(reset=True)
            return CLOSE
        exchange.status = 502
        refusal = Refusal(502, "internal", "the proxy failed; its log has the traceback, please report it")
        return self._answer(client, request, refusal, keep=False)

    def _answer(
        self, client: Downstream, request: web.BaseRequest, refusal: Refusal, *, keep: bool
    ) -> web.StreamResponse:
        self._refused(refusal)
        if client.transport is not None:
            client.transport.write(refusal.response(with_body=request.method != "HEAD", keep_alive=keep))
        return KEEP if keep else CLOSE


def may_keep(request: web.BaseRequest) -> bool:
    """Whether another request can follow one that was not passed on."""
    message = request._message
    return request.content.is_eof() and not message.should_close and not message.upgrade


def require_fit_aiohttp() -> None:
    """Raises SidecarError where aiohttp is one that this data plane was not written for, or fell back to its
    Python parser.
    """
    if not FIT_AIOHTTP.match(aiohttp.__version__):
        raise SidecarError(
            f"the data plane on aiohttp needs aiohttp 3.14.5 or a later 3.14, not {aiohttp.__version__}: its "
            "parser lets less through, and its inner classes are used; use --data-plane native"
        )
    if HttpRequestParser.__module__ != "aiohttp._http_parser":
        raise SidecarError(
            f"aiohttp {aiohttp.__version__} runs on its pure-Python HTTP parser, which lets request "
            "smuggling through (CVE-2026-111750); install a binary wheel of aiohttp, and unset "
            "AIOHTTP_NO_EXTENSIONS"
        )
