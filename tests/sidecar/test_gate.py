"""The gate on a real node segment: claims, timers, the engine's word, lapses, and a seat that comes late."""

import asyncio
import shutil
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from valve_adapters.adapter import Load
from valve_runtime.node import Node, Side
from valve_sidecar import gate as gates
from valve_sidecar.config import Mode
from valve_sidecar.controller import State
from valve_sidecar.cooldown import Cooldown
from valve_sidecar.events import EventLog
from valve_sidecar.flight import Flight
from valve_sidecar.gate import Gate
from valve_sidecar.seat import HolderSeat

DEADLINE_S = 10.0
BUSY, IDLE = Load(running=1, waiting=0), Load(running=0, waiting=0)


def flight(name: str = "r") -> Flight:
    now_ns = time.monotonic_ns()
    return Flight(name, "/v1/completions", None, now_ns, arrival_ns=now_ns, progress_ns=now_ns)


class Engine:
    """Answers what the test wants; counts the questions. `guard_s`: as an adapter's."""

    def __init__(self, *answers: Load | None, guard_s: float = 0.0) -> None:
        self.answers, self.asked, self.guard_s = list(answers), 0, guard_s

    async def load(self) -> Load | None:
        self.asked += 1
        return self.answers.pop(0) if self.answers else IDLE


@asynccontextmanager
async def running(
    directory: Path, mode: Mode = Mode.ENFORCE, engine: Engine | None = None
) -> AsyncIterator[Gate]:
    seat, engine = HolderSeat(directory, "test", ("cpu",)), engine or Engine()
    cooldown = Cooldown(fixed_ns=1_000_000)
    gate = Gate(seat, mode, cooldown, EventLog(), engine.load, lambda: engine.guard_s, lambda: 0.1)
    gate.start()
    try:
        yield gate
    finally:
        await gate.stop()


def claims(directory: Path) -> list[bool]:
    with Node.open(directory, Side.OBSERVER) as node:
        return [holder.closed for holder in node.holders()]


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while not condition():  # noqa: ASYNC110 - its task is not ours to await
            await asyncio.sleep(0.005)


async def test_an_arrival_closes_for_everybody_and_the_cooldown_opens(tmp_path: Path) -> None:
    async with running(tmp_path) as gate:
        request = flight()
        gate.arrived(request)
        assert request.closed_gate
        assert claims(tmp_path) == [True]
        gate.finished(request, sure=True)
        assert request.closes_seen == 1
        assert claims(tmp_path) == [True], "cooling is closed"
        await until(lambda: gate.controller.state is State.OPEN)
        assert claims(tmp_path) == [False]


async def test_observing_decides_but_claims_nothing(tmp_path: Path) -> None:
    async with running(tmp_path, Mode.OBSERVE) as gate:
        gate.arrived(flight())
        assert gate.closes == 1
        assert gate.ready
        assert not (tmp_path / "holders").exists()


async def test_a_doubtful_end_waits_for_the_engine(tmp_path: Path) -> None:
    engine = Engine(BUSY, BUSY, IDLE)
    async with running(tmp_path, engine=engine) as gate:
        request = flight()
        gate.arrived(request)
        gate.finished(request, sure=False)
        await until(lambda: gate.controller.state is State.OPEN)
        assert engine.asked == 3


async def test_an_engine_that_cannot_tell_is_believed_idle_after_its_guard_time(tmp_path: Path) -> None:
    engine = Engine(*[None] * 1000, guard_s=0.3)
    async with running(tmp_path, engine=engine) as gate:
        request = flight()
        gate.arrived(request)
        begin_s = time.monotonic()
        gate.finished(request, sure=False)
        await until(lambda: gate.controller.state is State.OPEN)
        assert time.monotonic() - begin_s >= 0.3
        assert engine.asked > 1


async def test_an_engine_that_tells_needs_no_guard_time(tmp_path: Path) -> None:
    async with running(tmp_path, engine=Engine(IDLE, guard_s=1e6)) as gate:
        request = flight()
        gate.arrived(request)
        gate.finished(request, sure=False)
        await until(lambda: gate.controller.state is State.OPEN)


async def test_a_silent_hold_is_released_when_the_engine_is_idle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gates, "STALL_NS", 0)
    monkeypatch.setattr(gates, "RENEW_S", 0.01)
    async with running(tmp_path) as gate:
        request = flight()
        gate.arrived(request)
        await until(lambda: gate.controller.state is State.OPEN)
        assert gate.controller.released == 1
        monkeypatch.setattr(gates, "STALL_NS", gates.BLIND_STALL_NS)
        gate.progressed(request)
        assert claims(tmp_path) == [True], "it moves again, so it is held again"


async def test_a_seat_that_comes_late_claims_what_is_closed_by_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gates, "RENEW_S", 0.01)
    directory = tmp_path / "later"
    async with running(directory) as gate:
        assert not gate.ready
        gate.arrived(flight())
        directory.mkdir()
        await until(lambda: gate.ready)
        await until(lambda: claims(directory) == [True])


async def test_a_removed_segment_is_made_again_and_claimed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gates, "RENEW_S", 0.01)
    directory = tmp_path / "run"
    directory.mkdir()
    async with running(directory) as gate:
        gate.arrived(flight())
        shutil.rmtree(directory)
        assert not gate.ready
        await until(lambda: gate.ready)
        await until(lambda: claims(directory) == [True])
        assert gate.closes == 1


async def test_after_a_hang_the_lapse_comes_before_the_next_arrival(tmp_path: Path) -> None:
    async with running(tmp_path) as gate:
        gate.arrived(flight("before"))
        time.sleep(gates.LEASE_NS / 1e9 + 0.1)  # noqa: ASYNC251 - the loop hangs: that is the point
        after = flight("after")
        gate.arrived(after)
        assert gate.lapses == 1
        assert after.closed_gate
        assert gate.controller.held == {after}
        assert claims(tmp_path) == [True]
