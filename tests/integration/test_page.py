"""The live page in a real browser: loads, follows, comes back, and can be used by anyone."""

import asyncio
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from .browser import BINARY, Browser
from .stage import Request, Stage

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(BINARY is None, reason="chromium is not installed (Debian: apt install chromium)"),
]

TEXT = "document.getElementById('{}').textContent"
GATE, LINK, EVENTS = TEXT.format("gate"), TEXT.format("link"), TEXT.format("events")


@pytest.fixture
async def browser(tmp_path: Path) -> AsyncIterator[Browser]:
    async with Browser(tmp_path / "profile") as browser:
        yield browser


async def test_it_follows_the_gate_and_the_tenants(stage: Stage, browser: Browser) -> None:
    sidecar, tenant = stage.sidecar(), stage.tenant("nightly <b>batch")
    tenant.wait_running()
    sidecar.wait_tenant_seen()
    await browser.open(f"{sidecar.admin}/")
    await browser.wait_for(f"{GATE} === '○ open'")
    await browser.wait_for(f"{TEXT.format('tenants')}.includes('nightly <b>batch▶ running')")
    request = Request(sidecar.listen, "r-1")
    await browser.wait_for(f"{GATE} === '■ closed' && {TEXT.format('flight')} === '1'")
    await browser.wait_for(f"{TEXT.format('tenants')}.includes('■ stopped')")
    await browser.wait_for(f"{EVENTS}.includes('after request r-1')")
    stage.engine.release.set()
    request.wait_done()
    await browser.wait_for(f"{GATE} === '○ open'")
    await browser.wait_for(f"{TEXT.format('ttft')}.includes('ms')")
    assert browser.complaints == []


async def test_it_comes_back_by_itself(stage: Stage, browser: Browser) -> None:
    first = stage.sidecar()
    await browser.open(f"{first.admin}/")
    await browser.wait_for(f"{LINK} === '● live'")
    first.process.send_signal(signal.SIGKILL)
    await browser.wait_for(f"{LINK}.includes('no connection')")
    stage.sidecar("--admin", first.admin.removeprefix("http://"))
    await browser.wait_for(f"{LINK} === '● live'")
    assert all("ERR_CONNECTION_REFUSED" in each or "CHUNKED" in each for each in browser.complaints)


async def test_an_open_page_does_not_hold_up_the_end(stage: Stage, browser: Browser) -> None:
    sidecar = stage.sidecar()
    await browser.open(f"{sidecar.admin}/")
    await browser.wait_for(f"{LINK} === '● live'")
    assert await asyncio.to_thread(sidecar.end) == 0


@pytest.mark.parametrize("dark", [False, True])
async def test_it_fits_a_phone(stage: Stage, browser: Browser, *, dark: bool) -> None:
    await browser.look_like(390, 844, dark=dark)
    sidecar = stage.sidecar()
    stage.tenant("a-job-with-a-name-that-somebody-gave").wait_running()
    await browser.open(f"{sidecar.admin}/")
    await browser.wait_for(f"{TEXT.format('tenants')}.includes('somebody')")
    assert await browser.value("document.documentElement.scrollWidth") <= 390
    background = await browser.value("getComputedStyle(document.body).backgroundColor")
    assert background == ("rgb(17, 20, 24)" if dark else "rgb(246, 247, 249)")


async def test_the_keyboard_is_enough(stage: Stage, browser: Browser) -> None:
    await browser.open(f"{stage.sidecar().admin}/")
    await browser.wait_for(f"{LINK} === '● live'")
    await browser.press("p")
    assert await browser.value(LINK) == "❚❚ paused"
    await browser.press("p")
    await browser.press("3")
    assert (
        await browser.value("document.querySelector('[data-span][aria-pressed=true]').textContent") == "5 min"
    )
    reachable = "document.querySelectorAll('button:not([tabindex=\"-1\"])').length"
    assert await browser.value(reachable) == 4


async def test_a_mode_that_stops_nothing_is_said(stage: Stage, browser: Browser) -> None:
    await browser.open(f"{stage.sidecar('--mode', 'observe').admin}/")
    await browser.wait_for(f"{TEXT.format('notice')} === 'Nothing is stopped: mode observe.'")
    assert await browser.value("document.getElementById('notice').hidden") is False


async def test_slices_are_counted_and_do_not_drive_out_other_events(stage: Stage, browser: Browser) -> None:
    stage.engine.behave = "pace"
    sidecar, tenant = stage.sidecar("--policy", "budget", "--slo-tpot-ms", "100"), stage.tenant()
    tenant.wait_running()
    Request(sidecar.listen, "r-1").wait_first_token()
    await browser.open(f"{sidecar.admin}/")
    await browser.wait_for(f"parseInt({TEXT.format('sliced-note')}.split('; ')[1]) > 5")
    assert "by request r-1" in await browser.value(EVENTS)
    assert "slice" not in await browser.value(EVENTS)
    assert browser.complaints == []


async def test_workers_are_one_picture(stage: Stage, browser: Browser) -> None:
    sidecar = stage.sidecar("--workers", "2")
    await browser.open(f"{sidecar.admin}/")
    await browser.wait_for(f"{GATE} === '○ open'")
    Request(sidecar.listen, "r-1")
    await browser.wait_for(f"{GATE} === '■ closed'")
    assert browser.complaints == []
