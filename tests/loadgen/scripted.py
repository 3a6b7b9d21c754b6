"""A server that plays scripts: for each request, in order, the bytes to write and the pauses between."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

from valve_loadgen.target import Target

CLOSE = None
Step = bytes | float | asyncio.Event | None
Script = Sequence[Step]
"""bytes are written, a number is a pause in seconds, an event is waited for, CLOSE closes the connection"""


@dataclass
class ScriptedServer:
    target: Target
    requests: list[bytes] = field(default_factory=list)
    connections: int = 0


@contextlib.asynccontextmanager
async def scripted(*scripts: Script, tls: ssl.SSLContext | None = None) -> AsyncIterator[ScriptedServer]:
    """Serves one script per request, over however many connections; the last one repeats."""
    waiting = list(scripts)
    server = ScriptedServer(Target())

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server.connections += 1
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError), contextlib.closing(writer):
            while not writer.is_closing():
                server.requests.append(await read_request(reader))
                await play(waiting.pop(0) if len(waiting) > 1 else waiting[0], writer)

    tasks: set[asyncio.Task[None]] = set()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(asyncio.create_task(serve(reader, writer)))

    listener = await asyncio.start_server(accept, "127.0.0.1", 0, ssl=tls)
    server.target = Target(port=listener.sockets[0].getsockname()[1])
    try:
        yield server
    finally:
        listener.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def read_request(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    length = next(
        (
            int(line.split(b":")[1])
            for line in head.split(b"\r\n")
            if line.lower().startswith(b"content-length")
        ),
        0,
    )
    return head + await reader.readexactly(length)


async def play(script: Script, writer: asyncio.StreamWriter) -> None:
    for step in script:
        if isinstance(step, bytes):
            writer.write(step)
            await writer.drain()
        elif step is CLOSE:
            writer.close()
        elif isinstance(step, asyncio.Event):
            await step.wait()
        else:
            await asyncio.sleep(step)


def stream_head() -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


def chunk(data: bytes) -> bytes:
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"


def event(payload: bytes) -> bytes:
    return chunk(b"data: " + payload + b"\n\n")


def plain(body: bytes, status: bytes = b"200 OK", extra: bytes = b"") -> bytes:
    return b"HTTP/1.1 " + status + b"\r\nContent-Length: %d\r\n" % len(body) + extra + b"\r\n" + body


END = b"0\r\n\r\n"
ROLE = event(b'{"choices":[{"index":0,"delta":{"role":"assistant","content":""}}]}')
TOKEN = event(b'{"choices":[{"index":0,"delta":{"content":" one"}}]}')
FINISH = event(b'{"choices":[{"index":0,"delta":{},"finish_reason":"length"}]}')
DONE = event(b"[DONE]")


def usage(tokens: int) -> bytes:
    return event(b'{"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":%d}}' % tokens)
