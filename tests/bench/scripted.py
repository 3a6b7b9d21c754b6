"""Both ends of the measured sidecar: an engine that streams without computing, clients that keep connections.

`python -m bench.scripted` is the engine, in a process of its own.
"""

from __future__ import annotations

import asyncio
import sys
import time
from functools import partial

TOKENS = 8
GAP_S = 0.002
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
EVENT = b'data: {"id":"c-1","model":"bench","choices":[{"delta":{"content":"x"},"finish_reason":null}]}\n\n'
LAST = b'data: {"id":"c-1","model":"bench","choices":[{"delta":{},"finish_reason":"stop"}],"usage":{"prompt_tokens":5,"completion_tokens":8}}\n\ndata: [DONE]\n\n'  # noqa: E501
REQUEST = b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}"


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


class Engine(asyncio.Protocol):
    """Answers each request with TOKENS events, GAP_S apart, the first at once."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport, self._buffer = transport, b""

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if self._buffer.startswith(b"GET"):  # a probe
            self._transport.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
            self._buffer = b""
        elif self._buffer.endswith(b"\r\n\r\n{}"):
            self._buffer = b""
            self._transport.write(HEAD + chunk(EVENT))
            asyncio.get_running_loop().call_later(GAP_S, self._more, TOKENS - 1)

    def _more(self, left: int) -> None:
        if not left:
            self._transport.write(chunk(LAST) + b"0\r\n\r\n")
            return
        self._transport.write(chunk(EVENT))
        asyncio.get_running_loop().call_later(GAP_S, self._more, left - 1)


class Client(asyncio.Protocol):
    """One connection; `ask` gives the time to the first byte in us."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._done: asyncio.Future[float] | None = None

    async def ask(self) -> float:
        self._done = asyncio.get_running_loop().create_future()
        self._first_ns, self._tail = 0, b""
        self._sent_ns = time.monotonic_ns()
        self._transport.write(REQUEST)
        return await self._done

    def data_received(self, data: bytes) -> None:
        self._first_ns = self._first_ns or time.monotonic_ns()
        self._tail = (self._tail + data)[-5:]
        if self._tail == b"0\r\n\r\n" and self._done is not None:
            self._done.set_result((self._first_ns - self._sent_ns) / 1000)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._done is not None and not self._done.done():
            self._done.set_exception(exc or ConnectionError("closed"))

    def close(self) -> None:
        self._transport.close()


async def connect(host: str, port: int) -> Client:
    _, client = await asyncio.get_running_loop().create_connection(Client, host, port)
    return client


async def serve_engine() -> None:
    server = await asyncio.get_running_loop().create_server(partial(Engine), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(serve_engine())
