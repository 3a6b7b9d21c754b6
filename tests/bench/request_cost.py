"""CPU and time to first byte of a request: all off; with traces and scrapes; with a page open, too.

Arms are interleaved. Sidecars run on core 0, everything else, their exporters included, on the other cores.
The client and the engine are the exact ones in native/bench; as root they come before all else on their core,
so that what they measure is the sidecar's and not a collector's who works there, too.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from integration.stage import Sidecar
from valve_loadgen import stats
from valve_loadgen.http_tools import Tools, program

from .onlookers import collector, onlooker

STREAMS, CHUNKS, GAP_US = 2, 8, 2000  # about 140 requests a second
BLOCK, ROUNDS = 150, 40  # of each stream's requests in a block; blocks of each arm
ARMS = ("off", "on", "on_and_page")
Block = tuple[list[float], float]  # first-byte times in us, CPU us per request


class Arm:
    """One sidecar, and what it costs."""

    def __init__(self, name: str, folder: Path, engine: int, collector: str) -> None:
        options = ["--otlp-endpoint", collector] if name != "off" else []
        directory = folder / name
        directory.mkdir(mode=0o700)
        self.name = name
        self.sidecar = Sidecar(directory, f"http://127.0.0.1:{engine}", *options)
        self.sidecar.wait_ready()
        self.pid = self.sidecar.process.pid

    def place(self) -> None:
        """The sidecar alone on core 0; as root it comes before the machine's other sessions."""
        with suppress(OSError):
            Path(f"/proc/{self.pid}/autogroup").write_text("-19")
        for thread in Path(f"/proc/{self.pid}/task").iterdir():
            os.sched_setaffinity(int(thread.name), {0})
        for child in self.children():
            os.sched_setaffinity(child, others())

    def children(self) -> list[int]:
        return [int(pid) for pid in Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()]

    async def block(self, rounds: int = BLOCK) -> Block:
        port = int(self.sidecar.listen.rpartition(":")[2])
        before = cpu_s(self.pid)
        told = await Tools(frozenset(others())).streams(port, STREAMS, CHUNKS, GAP_US, rounds)
        return told.ttft_us, 1e6 * (cpu_s(self.pid) - before) / len(told.ttft_us)


@contextmanager
def started(name: str, folder: Path, engine: int, collector: str) -> Iterator[Arm]:
    arm = Arm(name, folder, engine, collector)
    try:
        yield arm
    finally:
        arm.sidecar.end()


async def measure_requests(scale: float) -> dict[str, Any]:
    os.sched_setaffinity(0, others())
    with ExitStack() as opened:
        folder = Path(opened.enter_context(tempfile.TemporaryDirectory(dir="/dev/shm")))
        url, engine = opened.enter_context(collector()), opened.enter_context(backend())
        arms = [opened.enter_context(started(name, folder, engine, url)) for name in ARMS]
        for arm in arms[1:]:
            opened.enter_context(onlooker("scraper", arm.sidecar.admin))
        opened.enter_context(onlooker("page", arms[2].sidecar.admin))
        opened.enter_context(urgent())
        measured = await _measure(arms, max(2, round(ROUNDS * scale)))
    os.sched_setaffinity(0, range(os.cpu_count() or 1))
    return measured


async def _measure(arms: list[Arm], rounds: int) -> dict[str, Any]:
    await asyncio.sleep(2)  # exporters and onlookers have started
    for arm in arms:
        arm.place()
        await arm.block(BLOCK // 2)  # warm-up
    blocks: dict[str, list[Block]] = {arm.name: [] for arm in arms}
    for index in range(rounds):
        for shift in range(len(arms)):
            arm = arms[(index + shift) % len(arms)]
            blocks[arm.name].append(await arm.block())
    return report(blocks) | {"exporter_cpu_s": sum(cpu_s(pid) for arm in arms[1:] for pid in arm.children())}


def report(blocks: dict[str, list[Block]]) -> dict[str, Any]:
    found: dict[str, Any] = {"streams": STREAMS, "requests_a_block": STREAMS * BLOCK}
    found["rounds"] = len(blocks["off"])
    for name, of_arm in blocks.items():
        cpu = [block[1] for block in of_arm]
        found[name] = {"cpu_us": sum(cpu) / len(cpu), "first_byte_us": summary(of_arm)}
    for name, before in (("on", "off"), ("on_and_page", "off"), ("on_and_page", "on")):
        pairs = list(zip(blocks[before], blocks[name], strict=True))
        times = [(left[0], right[0]) for left, right in pairs]
        added = {f"p{round(100 * q)}": stats.difference_of_quantiles(times, q) for q in (0.5, 0.9, 0.99)}
        cpu_ratio = stats.ratio_of_sums([(right[1], left[1]) for left, right in pairs])
        found[f"{name}_against_{before}"] = {
            "cpu_ratio": [cpu_ratio.value, cpu_ratio.ci95],
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


@contextmanager
def urgent() -> Iterator[None]:
    """This process, and the clients that it starts, where that is permitted."""
    policy, priority = os.sched_getscheduler(0), os.sched_getparam(0)
    with suppress(PermissionError):
        hurry(0)
    try:
        yield
    finally:
        os.sched_setscheduler(0, policy, priority)


def hurry(pid: int) -> None:
    os.sched_setscheduler(pid, os.SCHED_FIFO, os.sched_param(1))


@contextmanager
def backend() -> Iterator[int]:
    """The engine's process; its port."""
    process = subprocess.Popen([str(program("http_backend")), "0"], stdout=subprocess.PIPE)
    with suppress(PermissionError):
        hurry(process.pid)
    assert process.stdout
    try:
        yield int(process.stdout.readline())
    finally:
        process.kill()
        process.communicate()
