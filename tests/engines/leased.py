"""Owns a real vLLM as a tenant on a pool that the test plays, and the gate that stops it while its memory is
taken away.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import re
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import httpx

from valve_adapters.sglang import KV_POOL
from valve_loadgen.completions import PATH, completion
from valve_loadgen.cpus import cores
from valve_loadgen.engines import ENGINES, MODEL, installed, vllm_python
from valve_loadgen.lab import ENGINE_START_S, Lab, free_port, healthy
from valve_loadgen.processes import ready
from valve_loadgen.target import Target
from valve_runtime.node import Holder, Node, Side

from .offline import PATIENCE_S
from .played_pool import PlayedPool

HERE = Path(__file__).parent
# float32: what is computed anew is computed in another batch, and in bfloat16 that alone can change a token.
OPTIONS = ("--dtype", "float32", "--max-model-len", "1024", "--enforce-eager", "--block-size", "32")
PAGE_BYTES, PAGES = 64 << 10, 1536
SLOTS, SGLANG_PAGES = "2048", 2048  # its layers are allocated apart
ROOM = ("--mem-fraction-static", "0.8")  # it measures what the machine has left, whoever uses it
DEADLINE_S = 120.0
TOKENS = 16
RECLAIMS = 12
ROUNDING = 0.1  # of a log probability


@dataclass
class LeasedEngine:
    """The engine's client, its pool and the gate before it."""

    client: httpx.AsyncClient
    pool: PlayedPool
    node: Node
    holder: Holder

    @contextlib.asynccontextmanager
    async def stopped(self) -> AsyncIterator[None]:
        """Meanwhile nothing of the engine moves."""
        generation = self.holder.close_gate()
        try:
            deadline_s = time.monotonic() + DEADLINE_S
            while not self._halted(generation):
                assert time.monotonic() < deadline_s, "the engine is not stopped"
                await asyncio.sleep(0.001)
            yield
        finally:
            self.holder.open_gate()

    def _halted(self, generation: int) -> bool:
        self.holder.renew()
        rows = [row for row in self.node.tenants() if row.alive]
        return any(row.state == "stopped" and row.ack_generation >= generation for row in rows)

    async def reclaim(self, lost: set[int], back: set[int]) -> None:
        """As the native pool does it: memory moves while nothing runs, and is told before anything runs."""
        async with self.stopped():
            self.pool.back(back)
            self.pool.lose(lost)
            self.pool.tell()

    async def gauge(self, name: str) -> float:
        text = (await self.client.get("/metrics", timeout=DEADLINE_S)).text
        found = re.search(rf"^vllm:{name}{{.*}} (\S+)$", text, re.MULTILINE)
        assert found, f"vLLM tells no {name}"
        return float(found[1])


@contextlib.asynccontextmanager
async def leased(
    lab: Lab, engine: str, port: int, pool: PlayedPool, command: list[str]
) -> AsyncIterator[LeasedEngine]:
    """`command` under `valve run`, on the pool; it is to serve `port`."""
    target, kind = Target(port=port), ENGINES[engine]
    environment = [f"{name}={value}" for name, value in pool.environment.items()]
    run = [sys.executable, "-m", "valve_sidecar", "run", "--engine", engine, "--device", "cpu", "--", "env"]
    with Node.open(lab.processes.runtime, Side.HOLDER) as node:
        holder = Holder.register(node, "pool", ("cpu",))
        child = lab.processes.start("leased", [*run, *environment, *command])
        await ready(child, lambda: healthy(target, kind.ready_path), ENGINE_START_S)
        renewing = asyncio.create_task(renew(holder))
        async with httpx.AsyncClient(base_url=str(target)) as client:
            try:
                yield LeasedEngine(client, pool, node, holder)
            finally:
                renewing.cancel()
                lab.processes.stop(child)


@contextlib.asynccontextmanager
async def leased_vllm(lab: Lab, program: tuple[str, ...], *more: str) -> AsyncIterator[LeasedEngine]:
    """`program`: what Python runs; `more`: the server's options besides OPTIONS."""
    core, port = cores(lab.placement.engines), free_port()
    python = [word for word in vllm_python(1, core) if not word.startswith("VLLM_CPU_KVCACHE_SPACE")]
    model = ["--model", str(installed() / "model"), "--served-model-name", MODEL, "--port", str(port)]
    size = ["--kv-cache-memory-bytes", str(PAGE_BYTES * PAGES)]
    command = [f"PYTHONPATH={HERE}", "taskset", "-c", core, *python, *program, "--host", "127.0.0.1"]
    pool = PlayedPool(lab.processes.scratch, PAGE_BYTES, PAGES)
    async with leased(lab, "vllm", port, pool, [*command, *model, *OPTIONS, *size, *more]) as engine:
        yield engine


@contextlib.asynccontextmanager
async def leased_sglang(lab: Lab) -> AsyncIterator[LeasedEngine]:
    """With the flags of its preset."""
    core, port = cores(lab.placement.engines), free_port()
    served = ENGINES["sglang"].start(
        port, 1, core, ("--dtype", "float32", "--max-total-tokens", SLOTS, *ROOM)
    )
    flags = [word for flag in KV_POOL.flags for word in flag]
    settings = [f"{name}={value}" for name, value in KV_POOL.environment.items()]
    pool = PlayedPool(lab.processes.scratch, PAGE_BYTES, SGLANG_PAGES)
    async with leased(lab, "sglang", port, pool, [*settings, *served, *flags]) as engine:
        yield engine


@dataclass(frozen=True)
class Answer:
    """Greedy: by token its text, and what each likely token would have got instead (log probabilities)."""

    tokens: list[str]
    likely: list[dict[str, float]]

    def is_as(self, control: Answer) -> bool:
        """Whether both were computed from the same: what is likely is as likely, up to the rounding of
        another batch. Of two tokens that are as good as equal either may be taken; then the texts part.
        """
        for own, other, mine, theirs in zip(
            self.tokens, control.tokens, self.likely, control.likely, strict=True
        ):
            if any(abs(mine[token] - theirs[token]) > ROUNDING for token in mine.keys() & theirs.keys()):
                return False
            if own != other:
                return theirs.get(own, -1e9) > theirs[other] - ROUNDING
        return True


async def ask(engine: LeasedEngine, text: str, tokens: int = TOKENS) -> Answer:
    body = {**completion(text, tokens), "stream": False, "logprobs": 3}
    del body["stream_options"]
    response = await engine.client.post(PATH, json=body, timeout=PATIENCE_S)
    told = response.raise_for_status().json()["choices"][0]["logprobs"]
    return Answer(told["tokens"], told["top_logprobs"])


def alike(answers: list[Answer], control: list[Answer]) -> bool:
    return all(one.is_as(other) for one, other in zip(answers, control, strict=True))


async def renew(holder: Holder) -> None:
    while True:
        holder.renew()
        await asyncio.sleep(0.5)


async def disturb(engine: LeasedEngine, seed: int, reclaims: list[int]) -> None:
    """Takes pages at random moments, worthless ones and others, and gives some back; so often that it hits
    every part of a batch, and no more: a slow machine would never get on. `reclaims` grows by what it took.
    """
    rng, pool = random.Random(seed), engine.pool
    for _ in range(RECLAIMS):
        await asyncio.sleep(rng.uniform(0.05, 0.6))
        costly = [page for page, cost in enumerate(pool.costs) if cost]
        lost = {*rng.sample(range(pool.pages), 3), *rng.sample(costly, min(len(costly), 1))}
        gone = set(range(pool.pages)) - pool.backed
        await engine.reclaim(lost, {page for page in gone if rng.random() < 0.7})
        reclaims.append(len(lost))


@contextlib.asynccontextmanager
async def disturbed(engine: LeasedEngine, seed: int) -> AsyncIterator[list[int]]:
    """Pages are taken meanwhile; in the end all are back."""
    reclaims: list[int] = []
    taking = asyncio.create_task(disturb(engine, seed, reclaims))
    try:
        yield reclaims
    finally:
        taking.cancel()
        await asyncio.gather(taking, return_exceptions=True)
        await engine.reclaim(set(), set(range(engine.pool.pages)))
