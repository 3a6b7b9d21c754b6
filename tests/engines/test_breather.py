"""SGLang with an impatient watchdog as a tenant: it is stopped for several of that one's limits, breathes
meanwhile, lives, and loses nothing.
"""

from __future__ import annotations

import asyncio
import time

import httpx
import pytest

from valve_loadgen.completions import PATH
from valve_loadgen.lab import Lab, opened_lab

from .test_long_stops import stream

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.slow]
WATCHDOG_S = 20
HELD_S = 4 * WATCHDOG_S
TOKENS = 300


async def test_it_lives_and_loses_nothing() -> None:
    with opened_lab() as lab:
        flags = ("--watchdog-timeout", str(WATCHDOG_S))
        target = await lab.start_engine("tenant", 1, True, *flags, engine="sglang")
        held = await lab.start_backend("online", lab.placement.others, "--delay-ms", str(HELD_S * 1000))
        sidecar = str(await lab.start_sidecar(held, "--engine", "openai", "--device", "cpu"))
        async with httpx.AsyncClient(base_url=str(target), timeout=None) as tenant:
            undisturbed = await stream(tenant, [], TOKENS)
            arrived: list[str] = []
            batch = asyncio.create_task(stream(tenant, arrived, TOKENS))
            while len(arrived) < 10:
                assert not batch.done()
                await asyncio.sleep(0.005)
            breathers = await hold(lab, sidecar)
            assert not batch.done()
            assert await batch == undisturbed
    assert breathers >= HELD_S // WATCHDOG_S


async def hold(lab: Lab, sidecar: str) -> int:
    """One request that lasts for several of the watchdog's limits. How often the tenant breathed in it."""
    begin_s = time.monotonic()
    async with httpx.AsyncClient(base_url=sidecar, timeout=None) as client:
        assert (await client.post(PATH, json={})).status_code == 200
    assert time.monotonic() - begin_s > HELD_S - 1
    (row,) = (await lab.state())["tenants"]
    return int(row["breathers"])
