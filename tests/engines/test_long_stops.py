"""Each real engine as a tenant that is stopped in the middle of a stream for minutes, and for longer than the
300 s after which engines give a step up: it goes on as if nothing had been.
"""

from __future__ import annotations

import asyncio

import httpx
import orjson
import pytest

from valve_loadgen.completions import PATH, completion
from valve_loadgen.engines import ENGINES
from valve_loadgen.lab import Lab, opened_lab
from valve_loadgen.sse import SseParser

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.slow]
REQUEST_S = 60  # of the online request that holds the gate; each one begins before the last has ended
STEP_S = 50
TOKENS = 120


@pytest.mark.parametrize("engine", sorted(ENGINES))
async def test_a_stop_of_minutes_in_the_middle_of_a_stream(engine: str) -> None:
    with opened_lab() as lab:
        target = await lab.start_engine("tenant", 1, True, engine=engine)
        held = await lab.start_backend("online", lab.placement.others, "--delay-ms", str(REQUEST_S * 1000))
        sidecar = str(await lab.start_sidecar(held, "--engine", "openai", "--device", "cpu"))
        async with httpx.AsyncClient(base_url=str(target), timeout=None) as tenant:
            undisturbed = [await stream(tenant, []) for _ in range(2)]
            assert undisturbed[0] == undisturbed[1]
            for steps in (3, 7):
                assert await stopped(lab, tenant, sidecar, steps) == undisturbed[0]
            assert await stream(tenant, []) == undisturbed[0]


async def stopped(lab: Lab, tenant: httpx.AsyncClient, sidecar: str, steps: int) -> str:
    """The stream's text when it stands still for `steps` x STEP_S in its middle."""
    arrived: list[str] = []
    batch = asyncio.create_task(stream(tenant, arrived))
    while len(arrived) < 10:
        assert not batch.done()
        await asyncio.sleep(0.005)
    await hold(lab, sidecar, steps)
    assert not batch.done()
    assert len(arrived) < TOKENS
    return await batch


async def hold(lab: Lab, sidecar: str, steps: int) -> None:
    """Keeps the gate closed: the tenant may breathe now and then, but not run through."""
    before = (await lab.state())["counters"]["gate_closes"]
    async with httpx.AsyncClient(base_url=sidecar, timeout=None) as client:
        requests = []
        for _ in range(steps):
            requests.append(asyncio.create_task(client.post(PATH, json={})))
            await asyncio.sleep(STEP_S)
        state = await lab.state()
        assert (state["gate"], state["counters"]["gate_closes"]) == ("closed", before + 1)
        for request in requests[:-1]:
            assert (await request).status_code == 200
        requests[-1].cancel()


async def stream(client: httpx.AsyncClient, arrived: list[str], tokens: int = TOKENS) -> str:
    """One completion's text; `arrived` grows by what each event brings."""
    parser = SseParser()
    body = completion("tenant", tokens)
    async with client.stream("POST", PATH, json=body, timeout=None) as response:
        assert response.status_code == 200
        async for piece in response.aiter_raw():
            payloads = parser.feed(piece)
            arrived += [text_of(payload) for payload in payloads]
    assert payloads[-1] == b"[DONE]"
    return "".join(arrived)


def text_of(payload: bytes) -> str:
    if payload == b"[DONE]":
        return ""
    choices = orjson.loads(payload)["choices"]
    return str(choices[0]["text"]) if choices else ""
