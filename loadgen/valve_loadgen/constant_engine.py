"""Owns an engine that computes nothing: answers every completion at once with the same text.

`python -m valve_loadgen.constant_engine --port P` serves until SIGTERM; what it adds to a latency is small
and constant, so that what stands before it can be measured.
"""

import argparse
import asyncio
import signal
import sys
from typing import cast

import orjson
import uvloop

OK = orjson.dumps({"status": "ok"})
COMPLETION = orjson.dumps(
    {
        "object": "text_completion",
        "choices": [{"index": 0, "text": " constant", "finish_reason": "length"}],
        "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
    }
)


def response(body: bytes) -> bytes:
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


class ConstantProtocol(asyncio.Protocol):
    """Answers a request once its head and its body (of Content-Length, or chunked) are in."""

    def __init__(self, delay_s: float = 0.0) -> None:
        self._transport: asyncio.Transport | None = None
        self._buffer = b""
        self._delay_s = delay_s

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (end := request_end(self._buffer)) is not None:
            self._answer(self._buffer.startswith(b"POST"))
            self._buffer = self._buffer[end:]

    def _answer(self, is_completion: bool) -> None:
        assert self._transport
        if not is_completion:
            self._transport.write(response(OK))
        elif self._delay_s:
            asyncio.get_running_loop().call_later(self._delay_s, self._transport.write, response(COMPLETION))
        else:
            self._transport.write(response(COMPLETION))


def request_end(buffer: bytes) -> int | None:
    """Where the first request in `buffer` ends; None if it is not all there."""
    head, mark, rest = buffer.partition(b"\r\n\r\n")
    if not mark:
        return None
    begin = len(head) + len(mark)
    fields = dict(line.lower().split(b":", 1) for line in head.split(b"\r\n")[1:])
    if b"chunked" in fields.get(b"transfer-encoding", b""):
        last = (b"\r\n" + rest).find(b"\r\n0\r\n\r\n")
        return None if last < 0 else begin + last + 5
    end = begin + int(fields.get(b"content-length", b"0"))
    return end if len(buffer) >= end else None


async def serve(port: int, delay_s: float) -> None:
    """Serves on 127.0.0.1:`port` until SIGTERM or SIGINT."""
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    server = await loop.create_server(lambda: ConstantProtocol(delay_s), "127.0.0.1", port)
    await stopped.wait()
    server.close()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m valve_loadgen.constant_engine", description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--delay-ms", type=float, default=0.0, help="how long a completion takes")
    arguments = parser.parse_args()
    uvloop.run(serve(arguments.port, arguments.delay_ms / 1e3))
    return 0


if __name__ == "__main__":
    sys.exit(main())
