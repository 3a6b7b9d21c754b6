"""A real vLLM loses KV pages at random moments, in the middle of its steps; what was in them is overwritten.
Every request is answered as if nothing had been, and only who must is computed anew.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from valve_adapters.vllm import SCHEDULER
from valve_loadgen.errors import BenchError
from valve_loadgen.lab import opened_lab
from valve_loadgen.prompts import prompt

from .leased import DEADLINE_S, Answer, LeasedEngine, alike, ask, disturbed, leased_vllm

pytestmark = pytest.mark.asyncio(loop_scope="module")
SERVER = ("-m", "vllm.entrypoints.openai.api_server")
HERE = Path(__file__).parent
CHUNKED = ("--max-num-seqs", "8", "--max-num-batched-tokens", "40", "--enable-chunked-prefill")
VARIANTS = {
    "cpu": (SERVER, SCHEDULER, *CHUNKED),
    "async_blocks_outermost": ((str(HERE / "vllm_variant.py"),), SCHEDULER, *CHUNKED),
}
MANY_RECLAIMS = 300
# Two that begin alike, and share blocks; long ones, whose prompts take several steps; short ones.
SHARED = [prompt("shared", 40) + prompt(f"tail/{number}", 8) for number in range(2)]
PROMPTS = [
    *SHARED,
    *(prompt(f"long/{n}", 60) for n in range(2)),
    *(prompt(f"short/{n}", 8) for n in range(2)),
]


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=sorted(VARIANTS))
async def engine(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[LeasedEngine]:
    program, scheduler, *options = VARIANTS[request.param]
    with opened_lab(tmp_path_factory.mktemp(request.param)) as lab:
        async with leased_vllm(lab, program, "--scheduler-cls", scheduler, *options) as made:
            yield made


async def batch(engine: LeasedEngine) -> list[Answer]:
    return list(await asyncio.gather(*(ask(engine, text) for text in PROMPTS)))


async def test_its_kv_memory_is_the_pools(engine: LeasedEngine) -> None:
    await ask(engine, PROMPTS[0])
    used = engine.pool.used()
    assert 0 < len(used) < engine.pool.pages


async def test_lost_pages_change_no_output(engine: LeasedEngine) -> None:
    control = [await batch(engine) for _ in range(2)]
    assert alike(control[1], control[0]), "undisturbed runs are alike, so a disturbed one has to be"
    before = await engine.gauge("num_preemptions_total")
    for seed in range(2):
        async with disturbed(engine, seed) as reclaims:
            assert alike(await batch(engine), control[0])
        assert reclaims
    assert await engine.gauge("num_preemptions_total") > before
    assert alike(await batch(engine), control[0]), "nothing that was lost is found in the prefix cache"


@pytest.mark.slow
async def test_hundreds_of_losses_change_no_output(engine: LeasedEngine) -> None:
    """Batch after batch, with the prefix cache that the disturbed ones before have left behind."""
    control, taken = await batch(engine), 0
    for seed in itertools.count(100):
        async with disturbed(engine, seed) as reclaims:
            assert alike(await batch(engine), control), f"of seed {seed}, after {taken} reclaims"
        assert reclaims
        taken += len(reclaims)
        if taken >= MANY_RECLAIMS:
            break
    assert alike(await batch(engine), control)


async def test_requests_that_are_given_up_meanwhile_change_no_output(engine: LeasedEngine) -> None:
    control = await batch(engine)
    async with disturbed(engine, 7):
        given_up = [asyncio.create_task(ask(engine, prompt(f"up/{n}", 30), 400)) for n in range(3)]
        for each in given_up:
            await asyncio.sleep(0.4)
            each.cancel()
        assert alike(await batch(engine), control)
        await asyncio.gather(*given_up, return_exceptions=True)
    assert alike(await batch(engine), control)


async def test_pages_that_cost_nothing_cost_nothing(engine: LeasedEngine) -> None:
    answer = asyncio.create_task(ask(engine, PROMPTS[3], 40))
    await until_computing(engine)
    before = await engine.gauge("num_preemptions_total")
    async with engine.stopped():
        worthless = {page for page, cost in enumerate(engine.pool.costs) if not cost}
        engine.pool.lose(set(list(worthless)[: engine.pool.pages // 2]))
        engine.pool.tell()
    await answer
    assert await engine.gauge("num_preemptions_total") == before
    await engine.reclaim(set(), set(range(engine.pool.pages)))


async def test_only_the_owners_of_a_lost_page_are_computed_anew(engine: LeasedEngine) -> None:
    answers = [asyncio.create_task(ask(engine, prompt(f"own/{n}", 20), 40)) for n in range(4)]
    await until_computing(engine, 4)
    before = await engine.gauge("num_preemptions_total")
    async with engine.stopped():
        costs = engine.pool.costs
        engine.pool.lose({max(range(len(costs)), key=costs.__getitem__)})
        engine.pool.tell()
    await asyncio.gather(*answers)
    assert 1 <= await engine.gauge("num_preemptions_total") - before <= 3  # so many blocks lie on a page
    await engine.reclaim(set(), set(range(engine.pool.pages)))


async def test_when_all_is_back_all_is_free(engine: LeasedEngine) -> None:
    async with disturbed(engine, 11):
        await batch(engine)
    await ask(engine, "again", 2)
    assert await engine.gauge("kv_cache_usage_perc") == 0


async def until_computing(engine: LeasedEngine, requests: int = 1) -> None:
    """Until the engine itself has told of the requests' blocks."""
    deadline_s = time.monotonic() + DEADLINE_S
    while not any(engine.pool.costs) or await engine.gauge("num_requests_running") < requests:
        assert time.monotonic() < deadline_s, "the engine does not begin"
        await asyncio.sleep(0.02)


async def test_a_mistake_is_caught(tmp_path: Path) -> None:
    """The same, but for owners that go on with what they have lost."""
    with opened_lab(tmp_path) as lab:
        scheduler = ("--scheduler-cls", "mistaken.MistakenLeasedScheduler")
        async with leased_vllm(lab, SERVER, *scheduler, *CHUNKED) as engine:
            control = await batch(engine)
            outputs = []
            for seed in range(3):
                async with disturbed(engine, seed):
                    outputs.append(await batch(engine))
    assert not all(alike(output, control) for output in outputs)


async def test_without_valves_scheduler_it_does_not_start(tmp_path: Path) -> None:
    """It would compute on lost memory."""
    with opened_lab(tmp_path) as lab, pytest.raises(BenchError):
        async with leased_vllm(lab, SERVER):
            pass
    assert "no block can be lost safely with another scheduler" in (tmp_path / "leased.log").read_text()
