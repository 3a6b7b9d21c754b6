"""Owns an engine that keeps the planner's time and computes nothing: continuous batching by the clock.

`python -m valve_loadgen.timed_engine --port P --figures 8b` serves completions until SIGTERM. On a CPU a
batch of eight takes nearly eight times as long as one request; this one behaves as on a GPU. With --burn its
time is processor time that it really takes, so that whatever shares its core slows it down.
"""

import argparse
import asyncio
import hashlib
import signal
import sys
import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any

import orjson
import uvloop
from aiohttp import web

from valve_loadgen.plan.engine import Engine, parse

DONE = b"data: [DONE]\n\n"
BLOCK = bytes(1 << 15)  # hashed in about 20 us, without the interpreter's lock


@dataclass(eq=False)
class Sequence:
    """A request inside: what is left of its prompt and of its answer, in tokens."""

    prompt_left: int
    tokens_left: int
    told: asyncio.Queue[int] = field(default_factory=asyncio.Queue)
    """Tokens left after each one that came."""


class Batch:
    """Which sequences an iteration works on, as native/planner simulates it. No clock, no I/O."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._waiting: deque[Sequence] = deque()
        self._running: list[Sequence] = []
        self._joining: list[Sequence] = []

    def __bool__(self) -> bool:
        return bool(self._waiting or self._running)

    def __len__(self) -> int:
        return len(self._waiting) + len(self._running) + len(self._joining)

    def add(self, sequence: Sequence) -> None:
        self._waiting.append(sequence)

    def drop(self, sequence: Sequence) -> None:
        """Its client has gone."""
        for line in (self._waiting, self._running, self._joining):
            if sequence in line:
                line.remove(sequence)

    def begin(self) -> float:
        """Takes in prompts, first come first served; how many seconds the iteration lasts."""
        room, taken = self._engine.batch - len(self._running), 0
        while self._waiting and len(self._joining) < room and taken < self._engine.chunk:
            head = self._waiting[0]
            part = min(head.prompt_left, self._engine.chunk - taken)
            head.prompt_left -= part
            taken += part
            if not head.prompt_left:
                self._joining.append(self._waiting.popleft())
        return self._engine.iteration_s(len(self._running)) + taken / self._engine.prefill_tokens_per_s

    def end(self) -> list[Sequence]:
        """Who has got a token; those whose last it was leave."""
        advanced = self._running + self._joining
        for sequence in advanced:
            sequence.tokens_left -= 1
        self._running = [each for each in advanced if each.tokens_left]
        self._joining = []
        return advanced


class TimedEngine:
    """Drives a batch, iterations end to end: by the event loop's clock, or by the work of a thread."""

    def __init__(self, engine: Engine, *, burns: bool = False) -> None:
        self._batch = Batch(engine)
        self._busy, self._burns = False, burns

    def app(self) -> web.Application:
        app = web.Application()
        app.router.add_get("/metrics", self._metrics)
        app.router.add_get("/{path:.*}", _ok)
        app.router.add_post("/v1/completions", self._complete)
        return app

    async def _metrics(self, _request: web.Request) -> web.Response:
        return web.Response(text=f"timed:requests {len(self._batch)}\n")

    async def _complete(self, request: web.Request) -> web.StreamResponse:
        asked = orjson.loads(await request.read())
        sequence = Sequence(len(asked["prompt"].split()) or 1, asked["max_tokens"])
        answer = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        self._add(sequence)
        try:
            await answer.prepare(request)
            await _stream(answer, sequence, asked["max_tokens"])
        finally:
            self._batch.drop(sequence)
        return answer

    def _add(self, sequence: Sequence) -> None:
        self._batch.add(sequence)
        if not self._busy:
            self._busy = True
            self._iterate(asyncio.get_running_loop().time())

    def _iterate(self, now_s: float) -> None:
        loop, work_s = asyncio.get_running_loop(), self._batch.begin()
        if self._burns:
            done = loop.run_in_executor(None, burn, work_s)
            done.add_done_callback(lambda _: self._end(loop.time()))
        else:
            loop.call_at(now_s + work_s, self._end, now_s + work_s)

    def _end(self, now_s: float) -> None:
        for sequence in self._batch.end():
            sequence.told.put_nowait(sequence.tokens_left)
        self._busy = bool(self._batch)
        if self._busy:
            self._iterate(now_s)


def burn(work_s: float) -> None:
    """Takes so much processor time."""
    end_s = time.thread_time() + work_s
    while time.thread_time() < end_s:
        hashlib.sha256(BLOCK)


async def _ok(_request: web.Request) -> web.Response:
    return web.Response(text="ok\n")


async def _stream(answer: web.StreamResponse, sequence: Sequence, tokens: int) -> None:
    left = tokens
    while left:
        left = await sequence.told.get()
        reason = None if left else "length"
        await answer.write(event({"choices": [{"index": 0, "text": " token", "finish_reason": reason}]}))
    await answer.write(event({"choices": [], "usage": {"completion_tokens": tokens}}))
    await answer.write(DONE)


def event(content: dict[str, Any]) -> bytes:
    return b"data: " + orjson.dumps({"object": "text_completion", **content}) + b"\n\n"


async def serve(port: int, engine: TimedEngine) -> None:
    """Serves on 127.0.0.1:`port` until SIGTERM or SIGINT."""
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    runner = web.AppRunner(engine.app(), access_log=None, shutdown_timeout=0)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    await stopped.wait()
    await runner.cleanup()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m valve_loadgen.timed_engine", description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--figures", type=parse, default=parse("8b"), help="as `valve plan --engine-figures`")
    parser.add_argument("--burn", action="store_true", help="take the processor for that time")
    arguments = parser.parse_args()
    uvloop.run(serve(arguments.port, TimedEngine(arguments.figures, burns=arguments.burn)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
