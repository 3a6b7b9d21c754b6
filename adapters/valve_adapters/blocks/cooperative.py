"""Asks SGLang over HTTP to let go of all its KV memory for a while, and to go on. Needs no plug-in; but it
waits for the engine's word, so it is no way to reclaim in a hurry. Facts: SGLang 0.5.23, below sglang/srt/.
"""

from __future__ import annotations

from typing import Any

import httpx

from .errors import CooperationError

TIMEOUT_S = 60.0


async def let_go(client: httpx.AsyncClient) -> None:
    """Until go_on() nothing in its KV memory means anything to the engine. Running requests keep what they
    have generated and are computed anew; the step under way is waited for (managers/scheduler.py:5817).
    `client` has the engine as its base URL. Raises CooperationError; then the engine goes on.
    """
    await _ask(client, "/pause_generation", {"mode": "retract"})
    try:
        await _ask(client, "/flush_cache", {})
    except CooperationError:
        await go_on(client)
        raise


async def go_on(client: httpx.AsyncClient) -> None:
    """Once all its memory is its own again. Raises CooperationError."""
    await _ask(client, "/continue_generation", {})


async def _ask(client: httpx.AsyncClient, path: str, body: dict[str, Any]) -> None:
    try:
        response = await client.post(path, json=body, timeout=TIMEOUT_S)
    except httpx.HTTPError as error:
        raise CooperationError(f"{path}: {error!r}") from error
    if response.is_error:
        raise CooperationError(f"{path} answered {response.status_code}: {response.text[:200]}")
