"""Owns the offline side of a test: a batch whose outputs can be compared, and what stops it meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

import httpx

from valve_loadgen.completions import PATH, completion
from valve_loadgen.events import Event
from valve_loadgen.lab import Lab
from valve_loadgen.prompts import prompt

PATIENCE_S = 900.0  # a stopped tenant answers late
PROMPTS = [prompt(f"batch/{number}", 24) for number in range(6)]
TOKENS = 32


@dataclass(frozen=True)
class Output:
    """`tokens`: the engine's own count."""

    text: str
    tokens: int


async def complete(client: httpx.AsyncClient, text: str, tokens: int = TOKENS) -> Output:
    """One greedy completion. Raises httpx.HTTPError."""
    body = {**completion(text, tokens), "stream": False}
    del body["stream_options"]
    response = (await client.post(PATH, json=body, timeout=PATIENCE_S)).raise_for_status().json()
    return Output(response["choices"][0]["text"], response["usage"]["completion_tokens"])


async def one_by_one(client: httpx.AsyncClient) -> list[Output]:
    """The batch with a fixed composition: every step computes for one request."""
    return [await complete(client, text) for text in PROMPTS]


async def all_at_once(client: httpx.AsyncClient) -> list[Output]:
    return list(await asyncio.gather(*(complete(client, text) for text in PROMPTS)))


@contextlib.asynccontextmanager
async def disturbed(lab: Lab, sidecar: httpx.AsyncClient, tokens: int) -> AsyncIterator[list[Event]]:
    """Online requests one after the other meanwhile; the list has every stop of a tenant at the end."""
    stops: list[Event] = []
    await lab.new_events()
    online = asyncio.create_task(_ask_for_ever(sidecar, tokens))
    try:
        yield stops
    finally:
        online.cancel()
        await asyncio.gather(online, return_exceptions=True)
    await lab.wait_for("afterwards", "gate", "open", 60)
    stops += [event for event in await lab.new_events() if event["kind"] == "stopped"]


async def _ask_for_ever(sidecar: httpx.AsyncClient, tokens: int) -> None:
    while True:
        await complete(sidecar, "online", tokens)
        await asyncio.sleep(1.0)
