"""The online clients of a cast, as one process that can be killed and stopped: `python -m chaos.client`.

Reads JSON lines: {"url", "plan", "dribble"} sends a request, {"leave": id} goes away in the middle of one.
Writes JSON lines: {"begun": id} with the first bytes, then an Exchange.
"""

from __future__ import annotations

import asyncio
import sys
import time
from dataclasses import asdict
from typing import Any

import orjson
import uvloop

from .answer import Plan, is_beginning, is_exact, stamps
from .history import Exchange

TIMEOUT_S = 40.0  # longer than anything that is to pass
DRIBBLE_S = 0.02  # between two pieces of a body


class Client:
    def __init__(self) -> None:
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def obey(self, order: dict[str, Any]) -> None:
        if leaver := order.get("leave"):
            if task := self._tasks.get(leaver):
                task.cancel()
            return
        plan = Plan(**order["plan"])
        call = Call(order["url"], plan, order["dribble"])
        self._tasks[plan.request_id] = task = asyncio.create_task(call.run())
        task.add_done_callback(lambda _: self._tasks.pop(plan.request_id))


class Call:
    """One request on a connection of its own."""

    def __init__(self, url: str, plan: Plan, dribble: bool) -> None:
        self._host, self._port = url.removeprefix("http://").rsplit(":", 1)
        self._plan, self._dribble = plan, dribble
        self._received = b""
        self._status = 0

    async def run(self) -> None:
        sent_ns = time.monotonic_ns()
        try:
            outcome = await asyncio.wait_for(self._exchange(), TIMEOUT_S)
        except asyncio.CancelledError:
            outcome = "left"
        except ConnectionRefusedError:
            outcome = "refused"
        except TimeoutError:
            outcome = "silent"
        except (OSError, EOFError, ValueError):
            outcome = "cut"
        if outcome in ("cut", "left") and not is_beginning(self._plan, self._received):
            outcome = "altered"
        tell(asdict(self._record(sent_ns, outcome)))

    def _record(self, sent_ns: int, outcome: str) -> Exchange:
        seen_ns = stamps(self._received) or [0]
        meant = "broken" if self._plan.defect else "whole"
        detail = "" if outcome in ("exact", "left") else f"{len(seen_ns)} tokens, {self._received[-60:]!r}"
        ended_ns = time.monotonic_ns()
        return Exchange(
            self._plan.request_id, meant, sent_ns, seen_ns[0], seen_ns[-1], ended_ns, outcome, detail
        )

    async def _exchange(self) -> str:
        reader, writer = await asyncio.open_connection(self._host, int(self._port))
        try:
            await self._send(writer)
            return await self._read(reader)
        finally:
            writer.transport.abort()

    async def _send(self, writer: asyncio.StreamWriter) -> None:
        body = self._plan.encode()
        writer.write(
            b"POST /v1/chat/completions HTTP/1.1\r\nHost: chaos\r\nContent-Type: application/json\r\n"
            b"X-Request-Id: %s\r\nContent-Length: %d\r\n\r\n" % (self._plan.request_id.encode(), len(body))
        )
        for begin in range(0, len(body), 16 if self._dribble else len(body)):
            writer.write(body[begin : begin + (16 if self._dribble else len(body))])
            await asyncio.sleep(DRIBBLE_S if self._dribble else 0)

    async def _read(self, reader: asyncio.StreamReader) -> str:
        head = await reader.readuntil(b"\r\n\r\n")
        self._status = int(head.split(b" ", 2)[1])
        if self._status != 200:
            return f"status_{self._status}"
        while size := int(await reader.readuntil(b"\r\n"), 16):
            if not self._received:
                tell({"begun": self._plan.request_id})
            self._received += (await reader.readexactly(size + 2))[:-2]
        return "exact" if is_exact(self._plan, self._received) else "altered"


def tell(content: dict[str, Any]) -> None:
    sys.stdout.buffer.write(orjson.dumps(content) + b"\n")
    sys.stdout.buffer.flush()


async def main() -> None:
    client, lines = Client(), asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(lines), sys.stdin.buffer
    )
    while line := await lines.readline():
        client.obey(orjson.loads(line))


if __name__ == "__main__":
    uvloop.run(main())
