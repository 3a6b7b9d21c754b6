"""What the supervisor does about its workers, and what they tell, merged."""

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from valve_sidecar.address import Address
from valve_sidecar.listener import Listener
from valve_sidecar.supervisor import MISSES, Member, merge_memory


@pytest.fixture
async def member(tmp_path: Path) -> AsyncIterator[Member]:
    """Its process sleeps."""
    member = Member(0, tmp_path / "0.sock", Listener(Address("127.0.0.1", 0)))
    sleep = "import time; time.sleep(60)"
    member.process = await asyncio.create_subprocess_exec(sys.executable, "-c", sleep)
    yield member
    await member.end(0.0)


def answer(member: Member, monkeypatch: pytest.MonkeyPatch, *statuses: int | None) -> None:
    """None: no answer."""
    left = [None if status is None else httpx.Response(status) for status in statuses]

    async def ask(_: str) -> httpx.Response | None:
        return left.pop(0)

    monkeypatch.setattr(member, "ask", ask)


async def test_a_hung_worker_is_killed(member: Member, monkeypatch: pytest.MonkeyPatch) -> None:
    assert member.process is not None
    answer(member, monkeypatch, 200, *[503, None] * MISSES)
    for _ in range(MISSES):
        assert member.runs
        await member.end_if_hung()
    assert member.runs, "it has missed one less"
    await member.end_if_hung()
    assert await member.process.wait() == -9


async def test_one_that_starts_or_is_slow_now_and_then_is_not(
    member: Member, monkeypatch: pytest.MonkeyPatch
) -> None:
    statuses = [None] * 5 + [200] + ([503] * (MISSES - 1) + [200]) * 3
    answer(member, monkeypatch, *statuses)
    for _ in statuses:
        await member.end_if_hung()
    assert member.runs


def test_of_each_device_the_worker_that_decides_tells() -> None:
    looks, decides = {"device": "a", "decides": False}, {"device": "a", "decides": True}
    other = {"device": "b", "decides": False}
    assert merge_memory([[looks], [decides, other], [looks]]) == [decides, other]
    assert merge_memory([[], []]) == []
