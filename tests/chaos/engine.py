"""An engine that does what each request's body says, well or badly: `python -m chaos.engine PORT`.

It tells its load as vLLM does. POST /release lets every request go on that is held; a request that comes
later is held anew.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import sys
import time

import uvloop

from .answer import END, Plan, event

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
BACKLOG = 512


class Engine:
    """`running`: requests that it works on, whether or not their clients are still there."""

    def __init__(self) -> None:
        self.running = 0
        self.release = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await self._exchange(reader, writer):
                pass
        except (OSError, asyncio.IncompleteReadError):
            pass  # the other side has gone
        finally:
            writer.close()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """False: the connection is over."""
        head = await reader.readuntil(b"\r\n\r\n")
        method, path, _ = head.split(b" ", 2)
        if method == b"GET":
            return await self._tell(path, writer)
        body = await read_body(head, reader)
        if path == b"/release":
            self.release.set()
            self.release = asyncio.Event()
            return await say(writer, b"{}")
        return await self._answer(body, reader, writer)

    async def _tell(self, path: bytes, writer: asyncio.StreamWriter) -> bool:
        text = b"vllm:num_requests_running %d\nvllm:num_requests_waiting 0\n" % self.running
        return await say(writer, text if path == b"/metrics" else b'{"data":[{"owned_by":"vllm"}]}')

    async def _answer(self, body: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        plan = Plan.decode(body)
        self.running += 1
        try:
            if plan.defect:
                await self._misbehave(plan, body, writer)
                return False
            await until_gone(reader, self._stream(plan, body, writer))
            return True
        except OSError:
            await asyncio.sleep(plan.linger_ms / 1e3)
            return False
        finally:
            self.running -= 1

    async def _stream(self, plan: Plan, body: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(HEAD)
        release = self.release
        for number in range(plan.tokens):
            await chunk(writer, event(body, number, time.monotonic_ns()))
            if number == 0 and plan.hold:
                await release.wait()
            await asyncio.sleep(plan.gap_ms / 1e3)
        await chunk(writer, END)
        writer.write(b"0\r\n\r\n")
        await writer.drain()

    async def _misbehave(self, plan: Plan, body: bytes, writer: asyncio.StreamWriter) -> None:
        match plan.defect:
            case "resets":
                writer.write(HEAD)
                await chunk(writer, event(body, 0, time.monotonic_ns()))
                await asyncio.sleep(plan.gap_ms / 1e3)
                reset(writer)
            case "half_answers":
                writer.write(HEAD + b"200\r\n" + event(body, 0, time.monotonic_ns()))
            case "cuts_head":
                writer.write(HEAD[:40])
            case "babbles":
                writer.write(b"\x16\x03\x01 this is not HTTP\r\n\r\n")
            case "hangs":
                await self.release.wait()
        await writer.drain()


async def until_gone(reader: asyncio.StreamReader, work: asyncio.Future[None] | object) -> None:
    """Does the work, unless the other side goes first. Raises OSError then."""
    working = asyncio.ensure_future(work)  # type: ignore[arg-type]
    gone = asyncio.ensure_future(reader.read(1))
    await asyncio.wait([working, gone], return_when=asyncio.FIRST_COMPLETED)
    left = not working.done()
    for task in (working, gone):
        task.cancel()
    await asyncio.gather(working, gone, return_exceptions=True)
    if left:
        raise ConnectionResetError
    working.result()


async def read_body(head: bytes, reader: asyncio.StreamReader) -> bytes:
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return await reader.readexactly(int(line[15:]))
    body = b""
    while size := int(await reader.readuntil(b"\r\n"), 16):
        body += (await reader.readexactly(size + 2))[:-2]
    await reader.readuntil(b"\r\n")
    return body


async def say(writer: asyncio.StreamWriter, body: bytes) -> bool:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
    await writer.drain()
    return True


async def chunk(writer: asyncio.StreamWriter, data: bytes) -> None:
    writer.write(b"%x\r\n%s\r\n" % (len(data), data))
    await writer.drain()


def reset(writer: asyncio.StreamWriter) -> None:
    """The connection ends with a RST."""
    sock = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def main() -> None:
    server = await asyncio.start_server(Engine().serve, "127.0.0.1", int(sys.argv[1]), backlog=BACKLOG)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main())
