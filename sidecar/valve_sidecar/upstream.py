"""Connections to the engine: pooled, and never reused once the engine may be about to close them."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from functools import partial

from aiohttp import ClientConnectorError, ClientRequest, ClientTimeout, TCPConnector, UnixConnector
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import BaseConnector, Connection
from aiohttp.helpers import _EXC_SENTINEL
from yarl import URL

from .address import Address
from .refusal import Refusal

KEEPALIVE_SHARE = 0.6  # of the engine's keep-alive: a POST never meets a connection that is closing
READ_SIZE = 65536  # bytes per response that we hold before we stop reading from the engine (twice this)
MAX_LINE = 65536
MAX_FIELDS = 1000


class EngineConnection(ResponseHandler):
    """aiohttp's connection, which on a malformed body forgets to tell the reader of that body."""

    def set_exception(self, exc: BaseException, exc_cause: BaseException = _EXC_SENTINEL) -> None:
        super().set_exception(exc, exc_cause)
        body = self._payload
        if body is not None and not body.is_eof() and body.exception() is None:
            body.set_exception(exc, exc_cause)


class Upstream:
    """The engine. `open` on the running loop, `connect` per request, `close` at the end."""

    def __init__(self, address: Address, keepalive_s: float, connect_timeout_s: float) -> None:
        self.address = address
        self._keepalive_s = keepalive_s * KEEPALIVE_SHARE
        self._timeout = ClientTimeout(total=None, sock_connect=connect_timeout_s)
        self._connector: BaseConnector | None = None

    def open(self) -> None:
        if self.address.path is not None:
            self._connector = UnixConnector(self.address.path, keepalive_timeout=self._keepalive_s, limit=0)
        else:
            self._connector = TCPConnector(keepalive_timeout=self._keepalive_s, limit=0)
        loop = asyncio.get_running_loop()
        self._connector._factory = partial(EngineConnection, loop=loop)  # type: ignore[assignment]
        # The connector asks a request for its destination: this one is never sent.
        self._destination = ClientRequest("GET", URL(self.address.base_url), loop=loop)

    async def connect(self) -> Connection:
        """An idle connection or a new one. Raises Refusal."""
        assert self._connector is not None
        try:
            while True:
                connection = await self._connector.connect(self._destination, [], self._timeout)
                if connection.protocol is not None and not connection.protocol.should_close:
                    return connection
                connection.close()  # bytes came while it was idle: they would answer the wrong request
        except TimeoutError:
            raise self._late() from None
        except (ClientConnectorError, OSError) as error:
            raise self._unreachable(error) from error

    def expect(self, connection: Connection, method: str) -> ResponseHandler:
        """Readies the connection for one response to `method`."""
        protocol = connection.protocol
        assert protocol is not None
        protocol.set_response_params(
            skip_payload=method == "HEAD",
            read_until_eof=True,
            auto_decompress=False,
            read_bufsize=READ_SIZE,
            max_line_size=MAX_LINE,
            max_field_size=MAX_LINE,
            max_headers=MAX_FIELDS,
        )
        return protocol

    async def close(self) -> None:
        if self._connector is not None:
            with suppress(OSError):
                await self._connector.close()

    def _late(self) -> Refusal:
        seconds = self._timeout.sock_connect
        return Refusal(
            504,
            "upstream_timeout",
            f"the engine at {self.address} did not accept a connection within {seconds:g} s; "
            "check that it is not overloaded",
        )

    def _unreachable(self, error: OSError) -> Refusal:
        reason = error.strerror or type(error).__name__
        return Refusal(
            502,
            "upstream_unreachable",
            f"the engine at {self.address} cannot be reached ({reason}); start it, or correct --upstream",
        )
