"""How long after the gate has changed the page shows it, in a real browser."""

from __future__ import annotations

import asyncio
import tempfile
import time
from pathlib import Path
from typing import Any

from integration.browser import BINARY, Browser
from integration.stage import Request, Stage
from valve_loadgen import stats

CHANGES = 40
# Notes when the word changes; the browser's clock is the system's time of day.
OBSERVE = """
window.seen = [];
new MutationObserver(() => window.seen.push([performance.timeOrigin + performance.now(), document.getElementById("gate").textContent]))
  .observe(document.getElementById("gate"), {childList: true, characterData: true, subtree: true});
"""  # noqa: E501
WORDS = {"close": "■ closed", "open": "○ open"}


async def measure_page(scale: float) -> dict[str, Any] | None:
    """None without chromium."""
    if BINARY is None:
        return None
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder, tempfile.TemporaryDirectory() as profile:
        stage = Stage(Path(folder))
        try:
            async with Browser(Path(profile)) as browser:
                return await _measure(stage, browser, max(3, round(CHANGES * scale)))
        finally:
            stage.close()


async def _measure(stage: Stage, browser: Browser, changes: int) -> dict[str, Any]:
    sidecar = await asyncio.to_thread(stage.sidecar)
    await browser.open(f"{sidecar.admin}/")
    await browser.wait_for("document.getElementById('link').textContent === '● live'")
    await browser.value(OBSERVE)
    for number in range(changes):
        stage.engine.release.clear()
        request = Request(sidecar.listen, f"r-{number}")
        await browser.wait_for("document.getElementById('gate').textContent === '■ closed'")
        stage.engine.release.set()
        await asyncio.to_thread(request.wait_done)
        await browser.wait_for("document.getElementById('gate').textContent === '○ open'")
        await asyncio.sleep(0.037 * (number % 7))  # not in step with the page's rhythm
    offset_ms = time.time() * 1000 - time.monotonic() * 1000
    seen = await browser.value("window.seen")
    delays = [
        min((at for at, word in seen if word == WORDS[kind] and at >= changed), default=0.0) - changed
        for kind in WORDS
        for changed in (event["t_ns"] / 1e6 + offset_ms for event in sidecar.events(kind))
    ]
    return {"changes": len(delays), "delay_ms": stats.summary(delays)}
