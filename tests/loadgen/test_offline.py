"""The offline driver: saturates, counts by stamp, outlives failures and silence."""

import asyncio
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from valve_loadgen.errors import BenchError
from valve_loadgen.offline import OfflineDriver, TokenLog

from .scripted import END, TOKEN, event, plain, scripted, stream_head, usage

COMPLETION = (stream_head(), TOKEN, 0.01, TOKEN, usage(2), END)


@given(
    steps=st.lists(st.tuples(st.integers(0, 5), st.integers(1, 4)), max_size=30),
    start=st.integers(0, 100),
    span=st.integers(0, 100),
)
def test_a_window_counts_what_a_loop_counts(steps: list[tuple[int, int]], start: int, span: int) -> None:
    log, now, stamped = TokenLog(), 0, []
    for gap, tokens in steps:
        now += gap
        log.add(now, tokens)
        stamped.append((now, tokens))
    expected = sum(tokens for at, tokens in stamped if start <= at < start + span)
    assert log.between(start, start + span) == expected


async def test_keeps_every_slot_busy_until_stopped() -> None:
    async with scripted(COMPLETION) as server:
        driver, start_ns = OfflineDriver(server.target, parallel=3), time.monotonic_ns()
        await driver.start()
        assert server.connections == 3
        while driver.completions < 6:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        await driver.stop()
        asked = len(server.requests)
        await asyncio.sleep(0.05)
        assert len(server.requests) == asked
    assert driver.log.between(start_ns, time.monotonic_ns()) >= 2 * driver.completions
    assert driver.errors == []


async def test_the_engines_own_count_is_used() -> None:
    two = event(b'{"choices":[{"text":" ab"}],"timings":{"predicted_n":2}}')
    five = event(b'{"choices":[{"text":" cde"}],"timings":{"predicted_n":5}}')
    async with scripted((stream_head(), two, five, usage(5), END), (30.0,)) as server:
        driver = OfflineDriver(server.target, parallel=1)
        await driver.start()
        await asyncio.sleep(0.05)
        await driver.stop()
    assert driver.log.between(0, time.monotonic_ns()) == 5


async def test_a_failed_completion_is_counted_and_asked_again() -> None:
    async with scripted((plain(b"", b"500 Oops"),), COMPLETION) as server:
        driver = OfflineDriver(server.target, parallel=1)
        await driver.start()
        await driver.stop()
    assert driver.errors == ["status 500"]


async def test_an_engine_that_only_fails_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("valve_loadgen.offline.RETRY_S", 0.001)
    async with scripted((plain(b"", b"500 Oops"),)) as server:
        with pytest.raises(BenchError, match="status 500"):
            await OfflineDriver(server.target, parallel=2).start()
