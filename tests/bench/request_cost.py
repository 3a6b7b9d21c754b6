"""CPU and time to first byte of a request: all off; with traces and scrapes; with a page open, too.

Arms are interleaved. Sidecars run on core 0, everything else, the exporters included, on the other cores.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

from integration.collector import Collector
from integration.stage import Sidecar
from valve_loadgen import stats

from .scripted import Client, connect

RPS, BLOCK_S, ROUNDS = 150, 2.5, 20
CONNECTIONS = 24
ARMS = ("off", "on", "on_and_page")
Block = tuple[list[float], float]  # first-byte times in us, CPU us per request


class Arm:
    """One sidecar and who looks at it."""

    def __init__(self, name: str, folder: Path, engine: int, collector: Collector) -> None:
        self.name = name
        options = ["--otlp-endpoint", collector.url] if name != "off" else []
        directory = folder / name
        directory.mkdir(mode=0o700)
        self.sidecar = Sidecar(directory, f"http://127.0.0.1:{engine}", *options)
        self.sidecar.wait_ready()
        self._free: list[Client] = []
        self.pid = self.sidecar.process.pid

    def place(self) -> None:
        """The sidecar alone on core 0."""
        os.sched_setaffinity(self.pid, {0})
        for child in self.children():
            os.sched_setaffinity(child, others())

    def children(self) -> list[int]:
        return [int(pid) for pid in Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()]

    async def block(self, seconds: float) -> Block:
        """At a constant rate; the clients do not wait for each other."""
        before = cpu_s(self.pid)
        start, tasks = time.monotonic(), []
        for i in range(round(RPS * seconds)):
            await asyncio.sleep(max(0.0, start + i / RPS - time.monotonic()))
            tasks.append(asyncio.create_task(self._ask()))
        times = list(await asyncio.gather(*tasks))
        return times, 1e6 * (cpu_s(self.pid) - before) / len(times)

    async def _ask(self) -> float:
        address = self.sidecar.listen.removeprefix("http://").split(":")
        client = self._free.pop() if self._free else await connect(address[0], int(address[1]))
        taken_us = await client.ask()
        self._free.append(client)
        return taken_us

    def close(self) -> None:
        for client in self._free:
            client.close()
        self.sidecar.end()


async def measure_requests(scale: float) -> dict[str, Any]:
    os.sched_setaffinity(0, others())
    collector = Collector()
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder, engine_port() as engine:
        arms = [Arm(name, Path(folder), engine, collector) for name in ARMS]
        try:
            return await _measure(arms, max(2, round(ROUNDS * scale)))
        finally:
            for arm in arms:
                arm.close()
            collector.close()
            os.sched_setaffinity(0, range(os.cpu_count() or 1))


async def _measure(arms: list[Arm], rounds: int) -> dict[str, Any]:
    await asyncio.sleep(2)  # exporters have started
    async with watched(arms[1], page=False), watched(arms[2], page=True):
        for arm in arms:
            arm.place()
            await arm.block(1.0)  # warm-up
        blocks: dict[str, list[Block]] = {arm.name: [] for arm in arms}
        for index in range(rounds):
            for shift in range(len(arms)):
                arm = arms[(index + shift) % len(arms)]
                blocks[arm.name].append(await arm.block(BLOCK_S))
    return report(blocks) | {"exporter_cpu_s": sum(cpu_s(pid) for arm in arms[1:] for pid in arm.children())}


@asynccontextmanager
async def watched(arm: Arm, *, page: bool) -> AsyncIterator[None]:
    """Scraped every second, and with a live stream that is read."""
    tasks = [asyncio.create_task(scrape(arm.sidecar.admin))]
    if page:
        tasks.append(asyncio.create_task(watch(arm.sidecar.admin)))
    yield
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def scrape(admin: str) -> None:
    async with aiohttp.ClientSession() as session:
        while True:
            async with session.get(f"{admin}/metrics") as answer:
                await answer.read()
            await asyncio.sleep(1)


async def watch(admin: str) -> None:
    async with aiohttp.ClientSession(read_bufsize=1 << 24) as session, session.get(f"{admin}/live") as answer:
        async for _ in answer.content:
            pass


def report(blocks: dict[str, list[Block]]) -> dict[str, Any]:
    found: dict[str, Any] = {"rps": RPS, "block_s": BLOCK_S, "rounds": len(blocks["off"])}
    for name, of_arm in blocks.items():
        cpu = [block[1] for block in of_arm]
        found[name] = {"cpu_us": sum(cpu) / len(cpu), "first_byte_us": summary(of_arm)}
    for name in ARMS[1:]:
        pairs = [(off[0], on[0]) for off, on in zip(blocks["off"], blocks[name], strict=True)]
        added = {f"p{round(100 * q)}": stats.difference_of_quantiles(pairs, q) for q in (0.5, 0.99)}
        found[f"{name}_against_off"] = {
            "cpu_share": found[name]["cpu_us"] / found["off"]["cpu_us"] - 1,
            "added_first_byte_us": {key: [value.value, value.ci95] for key, value in added.items()},
        }
    return found


def summary(of_arm: list[Block]) -> dict[str, Any]:
    return dict(stats.summary([value for block in of_arm for value in block[0]]))


def cpu_s(pid: int) -> float:
    """What the process's threads have run so far, without its children."""
    tasks = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(task.read_text().split()[0]) for task in tasks) / 1e9


def others() -> set[int]:
    return set(range(os.cpu_count() or 1)) - {0} or {0}


class engine_port:  # noqa: N801 - reads as a function
    """The scripted engine's process; its port."""

    def __enter__(self) -> int:
        command = [sys.executable, "-m", "bench.scripted"]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self._process.stdout
        return int(self._process.stdout.readline())

    def __exit__(self, *_: object) -> None:
        self._process.communicate()
