"""Which front a worker stands on."""

import asyncio
import ctypes
import dataclasses
import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from valve_adapters.llamacpp import LlamaCppAdapter
from valve_adapters.registry import by_name
from valve_runtime.errors import SegmentError
from valve_sidecar import native
from valve_sidecar.address import Address
from valve_sidecar.config import DATA_PLANES, Mode, ServeConfig
from valve_sidecar.flight import Outcome
from valve_sidecar.front import Front, Surroundings
from valve_sidecar.gate import HolderSeat
from valve_sidecar.listener import Listener
from valve_sidecar.native_front import NativeFront
from valve_sidecar.worker import make_front


async def nothing_known() -> None:
    return None


def surroundings(directory: Path, data_plane: str, mode: Mode = Mode.ENFORCE) -> Surroundings:
    directory.chmod(0o700)
    config = ServeConfig("http://127.0.0.1:1", "127.0.0.1:0", mode=mode, data_plane=data_plane)
    seat = HolderSeat(directory, "test", ("cpu",))
    listener = Listener(Address.parse(config.listen))
    return Surroundings(config, Address.parse(config.upstream), seat, 0, listener, nothing_known)


async def run_down(front: Front) -> None:
    await front.drain(0)
    await front.stop()


@pytest.mark.parametrize("data_plane", DATA_PLANES)
async def test_the_one_that_was_asked_for(data_plane: str, tmp_path: Path) -> None:
    front = make_front(surroundings(tmp_path, data_plane), by_name("openai"))
    assert front.name == data_plane
    await front.start()
    assert front._given.listener.bound.port > 0
    assert front.ready
    await run_down(front)


async def test_without_the_library_requests_are_carried_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def missing() -> None:
        raise SegmentError("no libvalve.so in here: run `make native`")

    monkeypatch.setattr(native, "library", missing)
    front = make_front(surroundings(tmp_path, "native"), by_name("openai"))
    assert front.name == "aiohttp"
    assert "make native" in caplog.text
    await run_down(front)


@pytest.mark.parametrize("data_plane", DATA_PLANES)
@pytest.mark.parametrize("mode", Mode)
async def test_both_tell_the_same_state(data_plane: str, mode: Mode, tmp_path: Path) -> None:
    front = make_front(surroundings(tmp_path, data_plane, mode), by_name("openai"))
    await front.start()
    async with front._given.listener.bound.client(5) as client:
        assert (await client.post("/v1/completions", content=b"{}")).status_code == 502
        assert (await client.get("/metrics")).status_code == 502
    state = front.state()
    counters = state["counters"]
    assert counters["requests"] == {"upstream_failed": 1}
    assert counters["errors"] == {"upstream_unreachable": 2}
    assert counters["passed_through"] == 1
    assert counters["gate_closes"] == (0 if mode is Mode.BYPASS else 1)
    assert list(state) == ["gate", "in_flight", "cooldown_ms", "budget", "counters"]
    kinds = [event["kind"] for event in front.since(0, 10)["events"]]
    assert kinds[:2] == (["request"] if mode is Mode.BYPASS else ["close", "request"])
    await run_down(front)
    assert front.state()["counters"]["requests"] == {"upstream_failed": 1}, "it can be read to the end"


async def test_what_is_known_of_the_engine_before_the_start_holds(tmp_path: Path) -> None:
    front = NativeFront(surroundings(tmp_path, "native"), by_name("openai"))
    engine = LlamaCppAdapter()
    engine.guard_s = 0.0
    front.use(engine)
    intake, library = front._intake, native.library()
    flight = intake.calls.arrive(intake.handle, ctypes.byref(native.Request()))
    intake.calls.finish(intake.handle, flight, native.OUTCOMES.index(Outcome.CLIENT_GONE), 0)
    assert native.STATES[intake.stats.state] == "asking"
    library.answer(intake.handle, intake.stats.question, native.Load.UNKNOWN)
    assert native.STATES[intake.stats.state] == "cooling"
    await run_down(front)


async def test_a_lost_seat_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR)
    given = surroundings(tmp_path, "native")
    (tmp_path / "holders").write_bytes(b"damaged")
    front = make_front(given, by_name("openai"))
    await front.start()
    assert not front.ready
    assert "proxying without a gate" in caplog.text
    await asyncio.sleep(0)
    await run_down(front)


def count_calls(work: Callable[[], None]) -> int:
    """How many functions it calls, those in C included."""
    events: list[str] = []
    sys.setprofile(lambda frame, event, argument: events.append(event))
    try:
        work()
    finally:
        sys.setprofile(None)
    return sum(event in ("call", "c_call") for event in events)


async def ask_often(front: Front, times: int) -> None:
    async with front._given.listener.bound.client(5) as client:
        for _ in range(times):
            assert (await client.post("/v1/completions", content=b"{}")).status_code == 502


async def test_python_does_the_same_however_many_requests_have_ended(tmp_path: Path) -> None:
    given = surroundings(tmp_path, "native")
    given = dataclasses.replace(given, config=dataclasses.replace(given.config, cooldown_ms=60_000))
    front = NativeFront(given, by_name("openai"))
    await front.start()
    node: Any = given.seat.node

    async def cost(requests: int) -> int:
        await ask_often(front, requests)
        return count_calls(lambda: front.collect(node, 1))

    await cost(1)  # the one that closes the gate
    assert await cost(1) == await cost(40)
    assert front.state()["counters"]["requests"] == {"upstream_failed": 42}
    await run_down(front)
