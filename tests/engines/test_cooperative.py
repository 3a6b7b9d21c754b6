"""A real SGLang lets go of all its KV memory in the middle of a batch; all of it is overwritten, and no
output changes.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
import pytest_asyncio

from valve_adapters.blocks.cooperative import go_on, let_go
from valve_loadgen.cpus import cores
from valve_loadgen.engines import ENGINES
from valve_loadgen.lab import ENGINE_START_S, free_port, healthy, opened_lab
from valve_loadgen.processes import ready
from valve_loadgen.target import Target

from .leased import ROOM
from .offline import PROMPTS, Output, complete
from .played_pool import garbage
from .sglang_plugin import entry_points

pytestmark = pytest.mark.asyncio(loop_scope="module")
HERE = Path(__file__).parent
POOL_BYTES = 1 << 30  # more than it uses: the rest takes no memory
TOKENS = 24
MORE = ("--dtype", "float32", *ROOM)  # what is computed anew is computed in another batch: see leased.py


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def sglang(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[httpx.AsyncClient, Path]]:
    """Its client, and the file that is its KV memory."""
    kind, target = ENGINES["sglang"], Target(port=free_port())
    with opened_lab(tmp_path_factory.mktemp("sglang")) as lab:
        memory = lab.processes.scratch / "memory"
        memory.touch()
        os.truncate(memory, POOL_BYTES)
        entry_points(lab.processes.scratch)
        command = kind.start(target.port, 1, cores(lab.placement.engines), MORE)
        path = f"{lab.processes.scratch}:{HERE}:"
        command = [word.replace("PYTHONPATH=", f"PYTHONPATH={path}") for word in command]
        child = lab.processes.start("sglang", ["env", f"VALVE_POOL_MEMORY={memory}", *command])
        await ready(child, lambda: healthy(target, kind.ready_path), ENGINE_START_S)
        async with httpx.AsyncClient(base_url=str(target)) as client:
            yield client, memory


async def batch(client: httpx.AsyncClient) -> list[Output]:
    return list(await asyncio.gather(*(complete(client, text, TOKENS) for text in PROMPTS[:4])))


async def test_all_that_was_lent_changes_no_output(sglang: tuple[httpx.AsyncClient, Path]) -> None:
    client, memory = sglang
    control = [await batch(client) for _ in range(2)]
    assert control[0] == control[1], "undisturbed runs are equal, so a disturbed one has to be"
    used = memory.stat().st_blocks * 512
    assert used, "its KV memory is the file"
    rng = random.Random(1)
    running = asyncio.create_task(batch(client))
    lent = 0
    while not running.done():
        await asyncio.sleep(rng.uniform(0.3, 1.5))
        await let_go(client)
        overwrite(memory)
        await go_on(client)
        lent += 1
    assert await running == control[0]
    assert lent > 1


def overwrite(memory: Path) -> None:
    """All of it that has ever been written, and the file is as sparse as before."""
    with memory.open("r+b") as file:
        at = 0
        while (at := _next(file.fileno(), at, os.SEEK_DATA)) < POOL_BYTES:
            end = _next(file.fileno(), at, os.SEEK_HOLE)
            file.seek(at)
            file.write(garbage(end - at))
            at = end


def _next(fd: int, at: int, what: int) -> int:
    try:
        return os.lseek(fd, at, what)
    except OSError:  # there is none
        return POOL_BYTES
