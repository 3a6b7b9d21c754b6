"""The report from windows made by hand, whose figures are known."""

from typing import Any

import pytest

from valve_loadgen import validity
from valve_loadgen.exchange import Exchange
from valve_loadgen.results import NO_GATE, OFFLINE_ALONE, ONLINE_ALONE, VALVE, Results, Window

from .told import close, opened, request, resumed, stopped

MS = 1_000_000
SECOND = 1_000_000_000


def answered(arm: str, name: str, at_ns: int, ttft_ms: int, tpot_ms: int, lag_ns: int = 0) -> Exchange:
    first_ns = at_ns + ttft_ms * MS
    stamps = [first_ns + i * tpot_ms * MS for i in range(5)]
    return Exchange(f"{arm}-{name}", name, at_ns, at_ns + lag_ns, first_ns, stamps[-1], 200, stamps, 5)


def window(arm: str, index: int, ttft_ms: int, tpot_ms: int, offline_tokens: int) -> Window:
    """10 s with 20 requests, each alone in flight: drained for 10 s - 20 x (TTFT + 4 TPOT)."""
    start_ns = index * 100 * SECOND + SECOND
    exchanges = [
        answered(arm, f"r{index}-{i}", start_ns + i * 500 * MS, ttft_ms + i, tpot_ms) for i in range(20)
    ]
    return Window(arm, index, start_ns, start_ns + 10 * SECOND, exchanges, offline_tokens)


def four_arms(rounds: int = 8) -> Results:
    results = Results()
    for index in range(rounds):
        start_ns = index * 100 * SECOND
        results.windows += [
            window(ONLINE_ALONE, index, 100, 10, 0),
            Window(OFFLINE_ALONE, index, start_ns, start_ns + 5 * SECOND, [], 500),
            window(NO_GATE, index, 200, 20, 600),
            window(VALVE, index, 101, 10, 680),
        ]
    return results


def test_inflation_and_harvest_are_those_of_the_windows() -> None:
    report = four_arms().report()
    assert report["ttft_inflation"]["p50"] == pytest.approx((101 + 9.5) / (100 + 9.5))
    assert report["tpot_inflation"]["p50"] == pytest.approx(1.0)
    assert report["tpot_inflation"]["verdict"] == "met"
    assert report["ttft_inflation_no_gate"]["p50"] == pytest.approx((200 + 9.5) / (100 + 9.5))
    assert report["ttft_inflation_no_gate"]["verdict"] == "missed"
    valve = report["arms"][VALVE]
    drained = 1 - 20 * (0.101 + 0.0095 + 0.040) / 10
    assert valve["drained_fraction"] == pytest.approx(drained)
    assert valve["offline_tokens_per_s"] == 68.0
    assert valve["harvested_fraction"] == pytest.approx(0.68)
    assert report["harvest_efficiency"] == pytest.approx(0.68 / drained)
    assert report["harvest_efficiency_ci95"] == pytest.approx([0.68 / drained] * 2)
    assert report["harvest_efficiency_verdict"] == "met"


def test_the_keys_that_readers_rely_on() -> None:
    report = four_arms().report()
    assert set(report["arms"]) == {ONLINE_ALONE, OFFLINE_ALONE, NO_GATE, VALVE}
    for figures in report["arms"].values():
        assert {
            "ttft_ms",
            "tpot_ms",
            "offline_tokens_per_s",
            "drained_fraction",
            "harvested_fraction",
        } <= set(figures)
    assert {"p50", "p90", "p99", "n"} == set(report["arms"][VALVE]["ttft_ms"])
    assert report["arms"][VALVE]["ttft_ms"]["p99"] is None  # 160 samples
    assert {"p50", "p99", "max"} <= set(report["preemption_latency_ms"])
    assert {"p50", "ci95"} <= set(report["ttft_inflation"])


def test_requests_are_paired_by_name_and_failures_left_out() -> None:
    results = four_arms(1)
    valve = results.of(VALVE)[0]
    valve.exchanges[0].error = "cut"
    valve.exchanges[1].token_ns[0] += 10 * SECOND
    estimate = results.inflation(lambda each: each.ttft_ms if each.ok else None, VALVE)
    assert estimate.value == pytest.approx((101 + 11) / (100 + 10))
    assert estimate.low is not None


def test_preemptions_are_joined_with_the_requests() -> None:
    results = four_arms(1)
    first = results.of(VALVE)[0].exchanges[0]
    at_ns = first.sched_ns
    results.events = [
        close(1, first.request_id, at_ns + 20),
        stopped(1, at_ns + 400_000),
        request(first.request_id, at_ns + 10, at_ns + SECOND),
        opened(2, at_ns + SECOND),
        resumed(2, at_ns + SECOND + 5),
    ]
    report = results.report()
    assert report["preemptions"] == 1
    assert report["preemptions_per_request_max"] == 1
    assert report["preemption_latency_ms"] == {"p50": 0.4, "p99": None, "max": 0.4, "n": 1}
    assert report["sidecar"]["joined"] == 1
    assert report["sidecar"]["client_send_to_head_parsed_ms"]["p50"] == pytest.approx(1e-5)


def test_nothing_measured_gives_a_report_without_figures() -> None:
    report = Results().report()
    assert report["harvest_efficiency"] is None
    assert report["ttft_inflation"]["verdict"] == "inconclusive"
    assert report["preemptions_per_request_max"] is None


def reasons(results: Results, shared_core: bool = False, **planned: int) -> list[str]:
    return validity.reasons(results, results.report(), planned, shared_core)


def test_a_clean_run_is_valid() -> None:
    assert reasons(four_arms()) == []


def spoil_errors(results: Results) -> None:
    for exchange in results.of(VALVE)[0].exchanges[:2]:
        exchange.error = "refused"


def spoil_lag(results: Results) -> None:
    for exchange in results.of(NO_GATE)[0].exchanges:
        exchange.send_ns += 50 * MS


def spoil_lease(results: Results) -> None:
    results.lapses = 1


def spoil_offline(results: Results) -> None:
    results.offline_errors.append("status 500")


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (spoil_errors, "shared_valve: 2 of 20 requests failed"),
        (spoil_lag, "shared_no_gate: the client sent late"),
        (spoil_lease, "lapsed 1 times"),
        (spoil_offline, "1 offline completions failed: status 500"),
    ],
)
def test_what_makes_a_run_invalid(spoil: Any, reason: str) -> None:
    results = four_arms(1)
    spoil(results)
    (told,) = reasons(results)
    assert reason in told


def test_a_shared_core_and_wrong_lengths_are_told() -> None:
    told = reasons(four_arms(1), shared_core=True, **{"r0-0": 6})
    assert "only one core" in told[0]
    assert "3 responses not as long as asked" in told[1]


def test_a_baselines_arm_is_compared_and_checked_like_the_others() -> None:
    results = four_arms()
    results.windows += [window("shared_nice", index, 120, 15, 400) for index in range(8)]
    report = results.report()
    assert list(report["arms"])[-1] == "shared_nice"
    assert report["baselines"]["shared_nice"]["tpot_inflation"]["p50"] == pytest.approx(1.5)
    assert report["baselines"]["shared_nice"]["tpot_inflation"]["verdict"] == "missed"
    for exchange in results.of("shared_nice")[0].exchanges:
        exchange.error = "cut"
    assert "shared_nice: 20 of 160 requests failed" in reasons(results)[0]


def checked(ttft_ms: float, gap_ms: float) -> dict[str, Any]:
    return {
        "ttft_ms_error": {"p50": ttft_ms, "p99": None},
        "gap_ms_error": {"p50": gap_ms, "p99": None},
        "delivered_fraction": 1.0,
    }


def test_what_a_self_check_must_reach_depends_on_what_is_measured() -> None:
    assert list(validity.check_reasons(checked(0.1, 0.01))) == []
    assert len(list(validity.check_reasons(checked(0.5, 0.05)))) == 2
    assert list(validity.check_reasons(checked(0.5, 0.05), ttft_ms=200.0, tpot_ms=15.0)) == []


def test_one_failure_in_a_hundred_is_borne() -> None:
    results = four_arms(8)
    results.of(VALVE)[0].exchanges[0].error = "refused"
    assert reasons(results) == []
