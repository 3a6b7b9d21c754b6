"""One real engine at a time, alone on a core, with a real `valve serve` before it; every test of an engine
uses the same one.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
import pytest_asyncio

from valve_loadgen.engines import ENGINES
from valve_loadgen.lab import opened_lab

from .stand import Stand

# The native route of vLLM is off by default.
MORE = {"vllm": ("--enable-scale-out",)}


@pytest_asyncio.fixture(scope="session", loop_scope="session", params=sorted(ENGINES))
async def stand(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Stand]:
    name = request.param
    logs: Path = tmp_path_factory.mktemp(name)
    with opened_lab(logs) as lab:
        engine = await lab.start_engine("online", 1, False, *MORE.get(name, ()), engine=name)
        made = await Stand.before(lab, name, engine)
        try:
            yield made
        finally:
            await made.close()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def tenant(stand: Stand) -> AsyncIterator[httpx.AsyncClient]:
    """The same engine again, under `valve run`."""
    target = await stand.lab.start_engine("tenant", 1, True, engine=stand.name)
    async with httpx.AsyncClient(base_url=str(target)) as client:
        yield client
