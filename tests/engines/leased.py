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

from valve_loadgen.cpus import cores
from valve_loadgen.engines import MODEL, installed, vllm_python
from valve_loadgen.lab import ENGINE_START_S, Lab, free_port, healthy
from valve_loadgen.processes import ready
from valve_loadgen.target import Target
from valve_runtime.node import Holder, Node, Side

from .played_pool import PlayedPool

HERE = Path(__file__).parent
SCHEDULER = "valve_adapters.blocks.vllm.LeasedScheduler"
# float32: what is computed anew is computed in another batch, and in bfloat16 that alone can change a token.
OPTIONS = ("--dtype", "float32", "--max-model-len", "1024", "--enforce-eager", "--block-size", "32")
PAGE_BYTES, PAGES = 64 << 10, 1536
DEADLINE_S = 120.0


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
async def leased_vllm(lab: Lab, program: tuple[str, ...], *more: str) -> AsyncIterator[LeasedEngine]:
    """`program`: what Python runs; `more`: the server's options besides OPTIONS."""
    pool, target = PlayedPool(lab.processes.scratch, PAGE_BYTES, PAGES), Target(port=free_port())
    with Node.open(lab.processes.runtime, Side.HOLDER) as node:
        holder = Holder.register(node, "pool", ("cpu",))
        child = lab.processes.start("leased", command(lab, pool, target, program, more))
        await ready(child, lambda: healthy(target), ENGINE_START_S)
        renewing = asyncio.create_task(renew(holder))
        async with httpx.AsyncClient(base_url=str(target)) as client:
            try:
                yield LeasedEngine(client, pool, node, holder)
            finally:
                renewing.cancel()
                lab.processes.stop(child)


def command(
    lab: Lab, pool: PlayedPool, target: Target, program: tuple[str, ...], more: tuple[str, ...]
) -> list[str]:
    """vLLM under `valve run`, on the pool."""
    core = cores(lab.placement.engines)
    python = [word for word in vllm_python(1, core) if not word.startswith("VLLM_CPU_KVCACHE_SPACE")]
    environment = [f"{name}={value}" for name, value in pool.environment.items()]
    run = [sys.executable, "-m", "valve_sidecar", "run", "--engine", "vllm", "--device", "cpu", "--"]
    engine = [*run, "env", f"PYTHONPATH={HERE}", *environment, "taskset", "-c", core, *python, *program]
    model = ["--model", str(installed() / "model"), "--served-model-name", MODEL, "--port", str(target.port)]
    size = ["--kv-cache-memory-bytes", str(PAGE_BYTES * PAGES)]
    return [*engine, "--host", "127.0.0.1", *model, *OPTIONS, *size, *more]


async def renew(holder: Holder) -> None:
    while True:
        holder.renew()
        await asyncio.sleep(0.5)


async def disturb(engine: LeasedEngine, seed: int, reclaims: list[int]) -> None:
    """Until cancelled: takes pages at random moments, worthless ones and others, and gives some back.
    `reclaims` grows by the pages of each.
    """
    rng, pool = random.Random(seed), engine.pool
    while True:
        await asyncio.sleep(rng.uniform(0.05, 0.6))
        costly = [page for page, cost in enumerate(pool.costs) if cost]
        lost = {*rng.sample(range(pool.pages), 3), *rng.sample(costly, min(len(costly), 1))}
        gone = set(range(pool.pages)) - pool.backed
        await engine.reclaim(lost, {page for page in gone if rng.random() < 0.7})
        reclaims.append(len(lost))
