"""Owns how long a hang-up takes to reach the engine: while it streams, before its first byte, in silence."""

import asyncio
import select
import socket
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, contextmanager, suppress
from statistics import median

BODY = b'{"model":"default","prompt":"x","stream":true}'
REQUEST = (
    b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    b"Content-Length: %d\r\n\r\n%s" % (len(BODY), BODY)
)
HEALTHY = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}"
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
CHUNK = b"e\r\ndata: token\n\n\n\r\n"
CASES = ("streaming", "before_first_byte", "silent_stream")
PATIENCE_S = 1.0
CHUNK_PERIOD_S = 0.001


@contextmanager
def engine() -> Iterator[socket.socket]:
    """A listening socket on 127.0.0.1."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        listener.settimeout(PATIENCE_S * 5)
        yield listener


@asynccontextmanager
async def answering(listener: socket.socket) -> AsyncIterator[None]:
    """Meanwhile every request is answered: some proxies ask for the engine's health before they listen."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(65_536)
        writer.write(HEALTHY)
        writer.close()

    async with await asyncio.start_server(answer, sock=listener.dup()):
        yield


def cancel_us(port: int, listener: socket.socket, case: str) -> float | None:
    """One request to `port`, given up. None: the engine did not see it within PATIENCE_S."""
    with (
        closing(socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S * 5)) as client,
        closing(send_request(client, listener)) as connection,
    ):
        if case != "before_first_byte":
            connection.sendall(HEAD + (CHUNK if case == "streaming" else b""))
            client.recv(65_536)
        hung_up_s = time.perf_counter()
        client.close()
        seen = sees_end(connection, streams=case == "streaming")
        return (time.perf_counter() - hung_up_s) * 1e6 if seen else None


def send_request(client: socket.socket, listener: socket.socket) -> socket.socket:
    """The engine's side of it."""
    client.sendall(REQUEST)
    return accept_request(listener)


def accept_request(listener: socket.socket) -> socket.socket:
    """The connection on which the request comes, read to its end; a proxy's own questions are hung up on."""
    while True:
        connection = listener.accept()[0]
        connection.settimeout(PATIENCE_S * 5)
        received = connection.recv(65_536)
        if received.startswith(b"POST"):
            break
        connection.close()
    while not received.endswith(b"}"):
        received += connection.recv(65_536)
    return connection


def sees_end(connection: socket.socket, *, streams: bool) -> bool:
    """Whether the engine's connection ends in time, while it goes on streaming or not."""
    deadline_s = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline_s:
        if select.select([connection], [], [], CHUNK_PERIOD_S)[0]:
            return True
        try:
            connection.sendall(CHUNK if streams else b"")
        except OSError:
            return True
    return False


def median_us(port: int, listener: socket.socket, case: str, samples: int) -> float | None:
    """None if a hang-up, or a request itself, did not arrive."""
    found: list[float] = []
    with suppress(TimeoutError):
        while len(found) < samples and (took_us := cancel_us(port, listener, case)) is not None:
            found.append(took_us)
    return median(found) if len(found) == samples else None


def measure(port: int, listener: socket.socket, samples: int) -> dict[str, float | None]:
    """The median of each case in us."""
    return {case: median_us(port, listener, case, samples) for case in CASES}
