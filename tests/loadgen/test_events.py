"""The join of stops with the closes and requests that caused them."""

import random

from hypothesis import given
from hypothesis import strategies as st

from valve_loadgen.events import generation_after, preemptions, stops_per_request

from .told import close, opened, request, resumed, stopped

CYCLE = [
    close(1, "a", 100),
    stopped(1, 150),
    stopped(1, 180, row=1),
    request("a", 90, 300),
    opened(2, 310),
    resumed(2, 320),
    resumed(2, 330, row=1),
]


def test_latency_runs_to_the_last_tenant() -> None:
    (found,) = preemptions(CYCLE)
    assert found.latency_ns == 180 - 80
    assert found.parsed_to_stopped_ns == 180 - 90
    assert [(stop.stopped_ns, stop.resumed_ns, stop.resume_woken_ns) for stop in found.stops] == [
        (150, 320, 318),
        (180, 330, 328),
    ]


def test_repeated_and_shuffled_events_change_nothing() -> None:
    events = CYCLE + [event for event in CYCLE if event["kind"] in ("stopped", "resumed")]
    random.Random(1).shuffle(events)
    assert preemptions(events)[0].latency_ns == preemptions(CYCLE)[0].latency_ns
    assert len(preemptions(events)[0].stops) == 2


def test_a_late_answer_belongs_to_the_close_not_yet_answered() -> None:
    """The tenant was still stopping for generation 3 when 5 came: its answer to 5 is the answer to 3."""
    events = [
        close(1, "a", 100), stopped(1, 110), opened(2, 200), resumed(2, 210),
        close(3, "b", 300), opened(4, 400), close(5, "c", 500), stopped(5, 520),
    ]  # fmt: skip
    first, second, third = preemptions(events)
    assert [stop.stopped_ns for stop in first.stops] == [110]
    assert [stop.stopped_ns for stop in second.stops] == [520]
    assert third.stops == []


def test_a_tenant_that_joins_late_answers_the_latest_close() -> None:
    events = [close(1, "a", 100), opened(2, 200), close(3, "b", 300), stopped(3, 350)]
    first, second = preemptions(events)
    assert (first.stops, first.latency_ns) == ([], None)
    assert [stop.stopped_ns for stop in second.stops] == [350]


def test_a_stop_without_resume_yet() -> None:
    (found,) = preemptions([close(1, "a", 100), stopped(1, 110)])
    assert found.stops[0].resumed_ns is None
    assert found.latency_ns is None  # the request has not finished: when it became readable is not told


def test_stops_are_counted_within_the_requests_life() -> None:
    events = [
        request("a", 100, 300),
        request("b", 150, 400),
        request("c", 500, 600),
        stopped(1, 160),
        stopped(3, 350),
        stopped(3, 351, row=1),
    ]
    assert stops_per_request(events) == {"a": 1, "b": 2, "c": 0}


@given(base=st.integers(0, 2**32 - 1), step=st.integers(1, 2**31 - 1))
def test_generations_compare_across_the_wrap(base: int, step: int) -> None:
    later = (base + step) % 2**32
    assert generation_after(later, base) == step
    assert generation_after(base, later) == -step
