"""Each real engine as a tenant beside the same one online, on one core: stopped again and again for about a
second, it loses no request and changes no output.
"""

from __future__ import annotations

import asyncio

import httpx
import pytest

from valve_loadgen.completions import PATH, completion

from .offline import PATIENCE_S, PROMPTS, TOKENS, all_at_once, disturbed, one_by_one
from .stand import Stand

pytestmark = pytest.mark.asyncio(loop_scope="session")
ONLINE_TOKENS = 24


async def test_stops_change_no_output(stand: Stand, tenant: httpx.AsyncClient) -> None:
    control = [await one_by_one(tenant) for _ in range(2)]
    assert control[0] == control[1], "undisturbed runs are equal, so a disturbed one has to be"
    async with disturbed(stand.lab, stand.client, ONLINE_TOKENS) as stops:
        outputs = await one_by_one(tenant)
    assert outputs == control[0]
    assert len(stops) > 2


async def test_stops_lose_no_request_of_a_saturated_tenant(stand: Stand, tenant: httpx.AsyncClient) -> None:
    async with disturbed(stand.lab, stand.client, ONLINE_TOKENS) as stops:
        outputs = await all_at_once(tenant)
    assert [output.tokens for output in outputs] == [TOKENS] * len(PROMPTS)
    assert stops


async def test_a_tenant_stands_still_while_the_online_engine_computes(
    stand: Stand, tenant: httpx.AsyncClient
) -> None:
    arrived = 0

    async def stream() -> None:
        nonlocal arrived
        body = completion("tenant", 400)
        async with tenant.stream("POST", PATH, json=body, timeout=PATIENCE_S) as response:
            async for _chunk in response.aiter_raw():
                arrived += 1

    batch = asyncio.create_task(stream())
    await stand.until(lambda: arrived > 5, "the tenant computes", look=rest)
    online = asyncio.create_task(stand.client.post(PATH, json=completion("online", 200)))
    await stand.until_tenant("stopped")
    await asyncio.sleep(0.2)  # for what was on its way
    before = arrived
    await asyncio.sleep(0.3)  # it cannot move, however long one looks
    assert not online.done()
    assert arrived == before
    assert (await online).status_code == 200
    await stand.until(lambda: arrived > before, "the tenant goes on", look=rest)
    await batch


async def rest() -> None:
    await asyncio.sleep(0.02)
