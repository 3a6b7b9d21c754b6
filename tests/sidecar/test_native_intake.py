"""The native intake without a data plane: what it classifies, stamps, counts and logs."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from valve_sidecar import native
from valve_sidecar.budget import Goal
from valve_sidecar.config import Mode
from valve_sidecar.events import EventLog
from valve_sidecar.flight import Flight, Outcome
from valve_sidecar.seat import HolderSeat
from valve_sidecar.trace import TraceContext

from .driven_intake import EVENT, Driver

USAGE = b'data: {"choices":[],"usage":{"completion_tokens":7}}\n\n'


@pytest.fixture
def driver() -> Iterator[Driver]:
    driver = Driver()
    yield driver
    driver.intake.close()


@pytest.fixture
def budgeted() -> Iterator[Driver]:
    driver = Driver(goal=Goal(slo_ns=2_000_000_000))  # periods of 4 s
    yield driver
    driver.intake.close()


def stream(driver: Driver, request_id: str) -> int:
    """A request that has earned 100 SLOs by now."""
    flight = driver.arrive("POST", "/v1/completions", request_id)
    assert flight is not None
    driver.progress(flight, EVENT)
    driver.progress(flight, 100 * EVENT)
    return flight


def test_a_slice_opens_for_a_stream_and_an_arrival_ends_it(budgeted: Driver) -> None:
    first = stream(budgeted, "r-1")
    budgeted.tick_until_a_slice(first)
    (opened,) = budgeted.events("open")
    assert opened["slice_until_ns"] == budgeted.intake.stats.slice_until_ns
    assert int(str(opened["slice_until_ns"])) % 2**32 == 0
    second = budgeted.arrive("POST", "/v1/completions", "r-2")
    assert second is not None
    stats = budgeted.intake.stats
    assert (stats.slice_until_ns, stats.slices, stats.slices_cut) == (0, 1, 1)
    assert [event["request_id"] for event in budgeted.events("close")] == ["r-1", "r-2"]
    for flight in (first, second):
        budgeted.finish(flight, Outcome.COMPLETED)
    told = {event["request_id"]: event for event in budgeted.events("request")}
    assert [told[name]["slices_seen"] for name in ("r-1", "r-2")] == [1, 0]
    assert [told[name]["closes_seen"] for name in ("r-1", "r-2")] == [1, 0]
    assert (stats.sliced, stats.sliced_missed) == (1, 0)
    assert 0 < stats.spent_ns < stats.earned_ns


def test_renewing_the_lease_leaves_a_slice_open(budgeted: Driver, tmp_path: Path) -> None:
    seat = HolderSeat(tmp_path, "proxy", ("cpu",))
    assert seat.take()
    assert seat.node is not None
    native.library().set_holder(budgeted.intake.handle, seat.handle, 0)
    budgeted.tick_until_a_slice(stream(budgeted, "r-1"))
    budgeted.tick(after_s=1.0)
    (row,) = seat.node.holders()
    assert row.closed == (not budgeted.intake.stats.slice_until_ns)
    native.library().set_holder(budgeted.intake.handle, 0, 0)
    seat.leave()


def test_the_end_of_the_last_request_and_the_engines_word_end_a_slice(budgeted: Driver) -> None:
    flight = stream(budgeted, "r-1")
    budgeted.tick_until_a_slice(flight)
    native.library().set_load(budgeted.intake.handle, 1, 0)
    assert budgeted.intake.stats.slice_until_ns == 0
    assert [event["request_id"] for event in budgeted.events("close")] == ["r-1", ""]
    native.library().set_load(budgeted.intake.handle, 0, 0)
    budgeted.finish(flight, Outcome.COMPLETED)
    assert budgeted.gate == "cooling"


def test_a_client_that_takes_nothing_does_not_spend_its_budget(budgeted: Driver) -> None:
    begun_ns = time.monotonic_ns()
    flight = stream(budgeted, "r-1")
    budgeted.hold_back(flight, held=True)
    held_ns = time.monotonic_ns()
    time.sleep(0.02)
    taken_ns = time.monotonic_ns()
    budgeted.hold_back(flight, held=False)
    budgeted.finish(flight, Outcome.COMPLETED)
    counted_ns = held_ns - begun_ns + time.monotonic_ns() - taken_ns
    assert budgeted.intake.stats.spent_ns <= counted_ns


def test_the_adapter_is_asked_once_for_each_method_path_and_upgrade(driver: Driver) -> None:
    for _ in range(3):
        assert driver.arrive("GET", "/metrics") is None
        assert driver.arrive("POST", "/tokenize") is None
    assert driver.adapter.questions == [("GET", "/metrics", False), ("POST", "/tokenize", False)]
    assert driver.arrive("GET", "/metrics", upgrade=True) is not None
    assert len(driver.adapter.questions) == 3
    assert driver.intake.stats.passed_through == 6


def test_another_engine_is_asked_anew(driver: Driver) -> None:
    driver.arrive("GET", "/metrics")
    native.library().forget_routes(driver.intake.handle, 0, 0)
    driver.arrive("GET", "/metrics")
    assert len(driver.adapter.questions) == 2


def test_more_paths_than_are_remembered(driver: Driver) -> None:
    for number in range(2000):
        assert driver.arrive("GET", f"/{number}") is None
    assert driver.arrive("GET", "/" + "x" * 5000) is None
    flight = driver.arrive("POST", "/v1/completions")
    assert flight is not None
    driver.finish(flight, Outcome.COMPLETED)


def test_bodies_wait_until_a_first_token_or_an_end(driver: Driver) -> None:
    stats = driver.intake.stats
    first = driver.arrive("POST", "/v1/completions", body_len=1000)
    second = driver.arrive("POST", "/v1/completions", body_len=10**9)
    assert driver.arrive("GET", "/ws", body_len=7, upgrade=True) is not None
    assert first is not None
    assert second is not None
    assert (stats.waiting, stats.waiting_bytes) == (2, 1000 + 131_072)
    driver.progress(second, EVENT)
    driver.progress(second, EVENT)
    assert (stats.waiting, stats.waiting_bytes) == (1, 1000)
    driver.finish(second, Outcome.COMPLETED)
    driver.finish(first, Outcome.CLIENT_GONE)
    assert (stats.waiting, stats.waiting_bytes) == (0, 0)


def test_a_request_closes_the_gate_and_its_end_opens_it_after_the_cooldown(driver: Driver) -> None:
    flight = driver.arrive("POST", "/v1/completions", "r-1")
    assert flight is not None
    assert (driver.gate, driver.intake.stats.in_flight) == ("closed", 1)
    driver.finish(flight, Outcome.COMPLETED)
    assert (driver.gate, driver.intake.stats.in_flight) == ("cooling", 0)
    driver.tick()
    assert driver.gate == "open"
    assert [event["request_id"] for event in driver.events("close")] == ["r-1"]
    assert len(driver.events("open")) == 1
    assert sum(driver.intake.stats.arrivals) == 1


def test_a_doubtful_end_asks_the_engine(driver: Driver) -> None:
    flight = driver.arrive("POST", "/v1/completions")
    assert flight is not None
    driver.finish(flight, Outcome.CLIENT_GONE)
    assert driver.gate == "asking"
    native.library().answer(driver.intake.handle, driver.intake.stats.question, native.Load.IDLE)
    assert driver.gate == "cooling"


def test_an_engine_that_does_not_tell_runs_on_for_its_guard_time(driver: Driver) -> None:
    flight = driver.arrive("POST", "/v1/completions")
    assert flight is not None
    driver.finish(flight, Outcome.CLIENT_GONE)
    native.library().answer(driver.intake.handle, driver.intake.stats.question, native.Load.UNKNOWN)
    assert driver.gate == "asking"
    native.library().set_engine(driver.intake.handle, 0, 0)
    driver.calls.tick(driver.intake.handle, time.monotonic_ns() + 8_000_000_000)
    native.library().answer(driver.intake.handle, driver.intake.stats.question, native.Load.UNKNOWN)
    assert driver.gate == "cooling"


def test_a_busy_engine_is_asked_again_when_it_bears_it(driver: Driver) -> None:
    flight = driver.arrive("POST", "/v1/completions")
    assert flight is not None
    driver.finish(flight, Outcome.CLIENT_GONE)
    first = driver.intake.stats.question
    native.library().answer(driver.intake.handle, first, native.Load.BUSY)
    driver.calls.tick(driver.intake.handle, time.monotonic_ns() + 6_000_000_000)
    assert driver.intake.stats.question == first
    driver.calls.tick(driver.intake.handle, time.monotonic_ns() + 8_000_000_000)
    assert driver.intake.stats.question > first


def test_whoever_asks_for_us_and_hangs_does_not_keep_the_gate_closed(driver: Driver) -> None:
    flight = driver.arrive("POST", "/v1/completions")
    assert flight is not None
    driver.finish(flight, Outcome.CLIENT_GONE)
    native.library().set_engine(driver.intake.handle, 0, 0)
    driver.calls.tick(driver.intake.handle, time.monotonic_ns() + 4_000_000_000)
    assert driver.gate == "asking"
    late = driver.intake.stats.question
    driver.calls.tick(driver.intake.handle, time.monotonic_ns() + 6_000_000_000)
    assert driver.gate == "cooling"
    native.library().answer(driver.intake.handle, late, native.Load.BUSY)
    assert driver.gate == "cooling"


def test_bypass_leaves_the_gate_alone() -> None:
    driver = Driver(Mode.BYPASS)
    flight = driver.arrive("POST", "/v1/completions")
    assert flight is not None
    assert driver.gate == "open"
    driver.finish(flight, Outcome.COMPLETED)
    assert driver.tick() == 2**64 - 1
    driver.intake.close()


def test_tokens_are_counted_while_they_pass(driver: Driver) -> None:
    flight = driver.arrive("POST", "/v1/chat/completions", "r-1")
    assert flight is not None
    for piece in (b": ping\n\n", EVENT, EVENT[:20], EVENT[20:], USAGE):
        driver.progress(flight, piece)
    driver.finish(flight, Outcome.COMPLETED)
    (event,) = driver.events("request")
    assert event["tokens"] == 7
    assert 0 < event["first_token_ns"] < event["last_token_ns"] < event["finished_ns"]  # type: ignore[operator]
    assert event["max_gap_ns"] == event["last_token_ns"] - event["first_token_ns"]  # type: ignore[operator]
    assert driver.intake.stats.tokens == 7


def test_what_the_answer_tells_of_itself(driver: Driver) -> None:
    flight = driver.arrive("POST", "/v1/chat/completions", "r-1")
    assert flight is not None
    driver.progress(flight, b'{"id":"c-1","model":"qwen","choices":[{"finish_reason":"stop"},')
    driver.progress(flight, b'{"finish_reason":"length"}],"usage":{"prompt_tokens":12}}')
    driver.finish(flight, Outcome.COMPLETED)
    (event,) = driver.events("request")
    told = {
        name: event[name] for name in ("model", "response_id", "finish_reasons", "input_tokens", "streamed")
    }
    assert told == {
        "model": "qwen",
        "response_id": "c-1",
        "finish_reasons": ("stop", "length"),
        "input_tokens": 12,
        "streamed": False,
    }
    assert driver.intake.stats.input_tokens == 12


def test_a_websocket_s_bytes_are_no_answer(driver: Driver) -> None:
    flight = driver.arrive("GET", "/v1/realtime", upgrade=True)
    assert flight is not None
    driver.progress(flight, b'{"model":"qwen"}')
    driver.finish(flight, Outcome.COMPLETED)
    assert [event["model"] for event in driver.events("request")] == [""]


def test_a_client_s_trace_is_joined() -> None:
    driver = Driver(trace_share=0.0)
    flight = driver.arrive("POST", "/v1/completions", "r-1", f"00-{'1' * 32}-{'2' * 16}-01")
    assert flight is not None
    ours = driver.traceparent(flight)
    driver.finish(flight, Outcome.COMPLETED)
    (request,) = driver.events("request")
    assert (request["trace_id"], request["parent_span_id"]) == ("1" * 32, "2" * 16)
    assert ours == f"00-{'1' * 32}-{request['span_id']}-01"
    (closing,), _ = driver.intake.closings_since(0)
    assert closing.trace == TraceContext("1" * 32, str(request["span_id"]), "2" * 16)
    driver.intake.close()


def test_the_request_that_came_last_is_known_to_others(driver: Driver) -> None:
    assert driver.intake.newest() == {}
    traced = Driver(trace_share=0.0)
    for request_id, parent in (("r-1", "2"), ("r-2", "3")):
        traced.arrive("POST", "/v1/completions", request_id, f"00-{'1' * 32}-{parent * 16}-01")
    traced.arrive("GET", "/v1/realtime", upgrade=True)
    last = traced.arrive("POST", "/v1/completions", "r-3", f"00-{'4' * 32}-{'5' * 16}-01")
    assert last is not None
    newest = traced.intake.newest()
    traced.finish(last, Outcome.COMPLETED)
    (ended,) = traced.events("request")
    assert newest == {key: ended[key] for key in ("readable_ns", "trace_id", "span_id")}
    assert driver.arrive("POST", "/v1/completions", "r-4")
    assert newest.keys() - driver.intake.newest().keys() == {"trace_id", "span_id"}, "it is not traced"
    traced.intake.close()


@pytest.mark.parametrize(
    ("share", "header"),
    [(None, f"00-{'1' * 32}-{'2' * 16}-01"), (0.0, ""), (1.0, f"00-{'1' * 32}-{'2' * 16}-00")],
)
def test_what_is_not_traced(share: float | None, header: str) -> None:
    driver = Driver(trace_share=share)
    flight = driver.arrive("POST", "/v1/completions", "", header)
    assert flight is not None
    assert driver.traceparent(flight) == ""
    driver.finish(flight, Outcome.COMPLETED)
    assert "trace_id" not in driver.events("request")[0]
    driver.intake.close()


@pytest.mark.parametrize(("share", "least", "most"), [(0.0, 0, 0), (0.5, 850, 1150), (1.0, 2000, 2000)])
def test_the_share_of_new_traces(share: float, least: int, most: int) -> None:
    driver = Driver(trace_share=share)
    for _ in range(2000):
        flight = driver.arrive("POST", "/v1/completions")
        assert flight is not None
        driver.finish(flight, Outcome.COMPLETED)
    traced = [event for event in driver.intake.since(0, 10_000)["events"] if "trace_id" in event]
    assert least <= len(traced) <= most
    assert len({event["trace_id"] for event in traced} | {event["span_id"] for event in traced}) == 2 * len(
        traced
    )
    assert all(event["parent_span_id"] == "" for event in traced)
    driver.intake.close()


def test_its_events_have_the_fields_of_the_other_log(driver: Driver) -> None:
    reference = EventLog(3)
    flight = driver.arrive("POST", "/v1/completions", "caf\u00e9" + "x" * 200)
    assert flight is not None
    driver.finish(flight, Outcome.COMPLETED)
    driver.tick()
    other = Flight("r-1", "/v1/completions", None, 1, outcome=Outcome.COMPLETED)
    reference.closed(1, 1, other)
    reference.request(other)
    reference.opened(1, 1)
    ours, theirs = driver.intake.since(0, 10), reference.since(0, 10)
    assert [list(event) for event in ours["events"]] == [list(event) for event in theirs["events"]]
    assert [event["kind"] for event in ours["events"]] == [event["kind"] for event in theirs["events"]]
    assert {key: ours[key] for key in ("next", "dropped")} == {
        key: theirs[key] for key in ("next", "dropped")
    }


def test_a_request_without_an_id_gets_one(driver: Driver) -> None:
    for _ in range(2):
        flight = driver.arrive("POST", "/v1/completions")
        assert flight is not None
        driver.finish(flight, Outcome.COMPLETED)
    assert [event["request_id"] for event in driver.events("request")] == ["valve-1", "valve-2"]


def test_made_events_take_their_place(driver: Driver) -> None:
    record = {"kind": "stopped", "t_ns": 5, "job": "batch", "row": 1}
    driver.intake.add(record)
    assert driver.intake.since(0, 10)["events"] == [{"seq": 0, "worker": 3, **record}]


def test_where_the_log_ends_is_told_to_who_asks_for_no_event(driver: Driver) -> None:
    driver.intake.add({"kind": "x", "t_ns": 1})
    assert driver.intake.since(1 << 62, 0)["next"] == 1
    assert driver.intake.since(0, 0) == {"events": [], "next": 0, "dropped": 0}


def test_the_log_keeps_the_last_events_and_tells_how_many_are_gone(driver: Driver) -> None:
    for number in range(native.LOG_CAPACITY + 10):
        driver.intake.add({"kind": "stopped", "t_ns": number})
    page = driver.intake.since(0, 2)
    assert (page["dropped"], page["next"]) == (10, 12)
    assert [event["t_ns"] for event in page["events"]] == [10, 11]
    assert driver.intake.since(native.LOG_CAPACITY + 10, 5)["events"] == []
    assert driver.intake.closings_since(0)[0] == []
