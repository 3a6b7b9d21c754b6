"""A real SGLang loses KV pages at random moments, in the middle of its steps; they are overwritten, and no
output changes.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from valve_loadgen.lab import opened_lab

from .leased import Answer, LeasedEngine, alike, ask, disturbed, leased_sglang
from .test_kv_pool import PROMPTS

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def engine(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[LeasedEngine]:
    with opened_lab(tmp_path_factory.mktemp("sglang")) as lab:
        async with leased_sglang(lab) as made:
            yield made


async def batch(engine: LeasedEngine) -> list[Answer]:
    return list(await asyncio.gather(*(ask(engine, text) for text in PROMPTS)))


async def test_lost_pages_change_no_output(engine: LeasedEngine) -> None:
    control = [await batch(engine) for _ in range(2)]
    assert alike(control[1], control[0]), "undisturbed runs are alike, so a disturbed one has to be"
    for seed in range(2):
        async with disturbed(engine, seed) as reclaims:
            assert alike(await batch(engine), control[0])
        assert reclaims
    assert alike(await batch(engine), control[0])


async def test_when_all_is_back_all_is_free(engine: LeasedEngine) -> None:
    async with disturbed(engine, 11):
        await batch(engine)
    await ask(engine, "again", 2)
    loads = (await engine.client.get("/v1/loads", params={"include": "core"})).json()["loads"]
    assert [load["token_usage"] for load in loads] == [0]
