"""The self-check's verdict from exchanges and truths made by hand, whose errors are known."""

from typing import Any

import pytest

from valve_loadgen.exact_mock import Truth
from valve_loadgen.exchange import Exchange
from valve_loadgen.self_check import SelfCheckPlan, delivered_fraction, judge
from valve_loadgen.workers import Sent

MS, US = 1_000_000, 1_000


def pair(index: int, late_us: int = 0, lag_us: int = 0, jitter_us: int = 0) -> tuple[Exchange, Truth]:
    """A request that reaches the mock `lag_us` after its time; every other token is seen `jitter_us` late."""
    sched_ns = index * 10 * MS
    received_ns = sched_ns + lag_us * US
    left = tuple(received_ns + 20 * MS + i * 5 * MS for i in range(4))
    seen = [at_ns + late_us * US + (i % 2) * jitter_us * US for i, at_ns in enumerate(left)]
    exchange = Exchange(f"r{index}", "", sched_ns, received_ns, seen[0], seen[-1], 200, seen, 4)
    return exchange, Truth(received_ns, left)


def told(**errors: int) -> dict[str, Any]:
    pairs = [pair(i, **errors) for i in range(1000)]
    truths = {exchange.request_id: truth for exchange, truth in pairs}
    return judge(Sent(0, [exchange for exchange, _ in pairs], 0.25), truths)


def test_the_keys_are_those_promised() -> None:
    assert list(told()) == [
        "valid",
        "ttft_ms_error",
        "gap_ms_error",
        "delivered_fraction",
        "cpu_s_per_1000",
        "reasons",
    ]


def test_an_exact_client_has_no_error() -> None:
    report = told()
    assert report["ttft_ms_error"] == {"p50": 0.0, "p99": 0.0}
    assert report["gap_ms_error"] == {"p50": 0.0, "p99": 0.0}
    assert (report["delivered_fraction"], report["cpu_s_per_1000"]) == (1.0, 0.25)
    assert report["reasons"] == []


def test_late_stamps_and_late_sends_are_ttft_errors_and_cancel_in_gaps() -> None:
    report = told(late_us=30, lag_us=40)
    assert report["ttft_ms_error"]["p50"] == pytest.approx(0.07)
    assert report["gap_ms_error"]["p50"] == 0.0


@pytest.mark.parametrize(
    ("errors", "reason"),
    [
        ({"late_us": 150}, "ttft_ms_error p50 is 0.150 ms"),
        ({"lag_us": 2000}, "ttft_ms_error p99 is 2.000 ms"),
        ({"jitter_us": 20}, "gap_ms_error p50 is 0.020 ms"),
    ],
)
def test_an_error_over_its_bound_is_a_reason(errors: dict[str, int], reason: str) -> None:
    assert any(reason in each for each in told(**errors)["reasons"])


def test_too_few_samples_have_no_p99() -> None:
    exchange, truth = pair(0)
    report = judge(Sent(0, [exchange], 0.1), {exchange.request_id: truth})
    assert report["ttft_ms_error"] == {"p50": 0.0, "p99": None}


def test_failures_and_a_slower_sending_are_not_delivered() -> None:
    exchanges = [pair(i)[0] for i in range(101)]
    assert delivered_fraction(exchanges, 101) == 1.0
    assert delivered_fraction(exchanges, 50) == pytest.approx(50 / 101)
    for index, exchange in enumerate(exchanges):
        exchange.send_ns = index * 20 * MS
    assert delivered_fraction(exchanges, 101) == pytest.approx(0.5)


def test_nothing_answered_is_a_reason() -> None:
    assert "no request was answered" in judge(Sent(0), {})["reasons"]


def test_the_plan_repeats() -> None:
    assert SelfCheckPlan(50, 2).requests() == SelfCheckPlan(50, 2).requests()
