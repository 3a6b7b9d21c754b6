"""The report of a load run from exchanges made by hand."""

from typing import Any

import pytest

from valve_loadgen.exchange import Exchange
from valve_loadgen.load_report import Measured, report
from valve_loadgen.slo import Slo

MS, SECOND = 1_000_000, 1_000_000_000


def answered(index: int, ttft_ms: int = 100, lag_ms: int = 0, **more: Any) -> Exchange:
    """One every 100 ms; five chunks 10 ms apart that carry nine tokens."""
    sched_ns = index * 100 * MS
    stamps = [sched_ns + (ttft_ms + i * 10) * MS for i in range(5)]
    exchange = Exchange(
        f"r{index}", "", sched_ns, sched_ns + lag_ms * MS, stamps[0], stamps[-1], 200, stamps, 9
    )
    for name, value in more.items():
        setattr(exchange, name, value)
    return exchange


def told(exchanges: list[Exchange], begin_s: int = 0, end_s: int = 10, **more: Any) -> dict[str, Any]:
    return report(
        Measured(exchanges, begin_s * SECOND, end_s * SECOND), more.get("slo"), more.get("self_check")
    )


def test_figures_are_those_of_the_counted_requests() -> None:
    exchanges = [answered(i, ttft_ms=500 if i < 20 else 100) for i in range(100)]
    figures = told(exchanges, begin_s=2, slo=Slo.parse("ttft_ms=200"))
    assert figures["valid"]
    assert figures["requests"] == {"counted": 80, "completed": 80, "cancelled": 0, "failed": 0}
    assert (figures["ttft_ms"]["p50"], figures["ttft_ms"]["max"]) == (100, 100)
    assert figures["tpot_ms"]["p50"] == pytest.approx(40 / 8)
    assert figures["icl_ms"]["p50"] == pytest.approx(10)
    assert figures["latency_ms"]["p50"] == pytest.approx(140)
    assert figures["rate"]["planned_per_s"] == figures["rate"]["completed_per_s"] == 10
    assert figures["output_tokens_per_s"] == 90
    assert figures["goodput"]["fraction"] == 1.0


def test_too_few_samples_say_so() -> None:
    figures = told([answered(i) for i in range(100)])
    assert figures["ttft_ms"]["p99"] is None
    assert figures["ttft_ms"]["reason"] == "p99 needs 1000 samples, has 100"


def test_cancelled_requests_are_no_failures() -> None:
    exchanges = [answered(i) for i in range(100)]
    exchanges[5].cancelled, exchanges[5].error = True, "closed by the client"
    exchanges[6].error = "cut"
    figures = told(exchanges)
    assert figures["requests"] == {"counted": 100, "completed": 98, "cancelled": 1, "failed": 1}
    assert figures["errors"] == ["r6: cut"]
    assert figures["valid"]


CHECKED = {
    "ttft_ms_error": {"p50": 0.5, "p99": None},
    "gap_ms_error": {"p50": 1.0, "p99": None},
    "delivered_fraction": 1.0,
}


@pytest.mark.parametrize(
    ("exchanges", "more", "reason"),
    [
        ([answered(i, lag_ms=6) for i in range(100)], {}, "sent late, p99 6.00 ms, over the bound of 5.00"),
        ([answered(i, send_ns=0) for i in range(100)], {}, "only 0.0% of the planned rate was sent"),
        ([answered(i, error="cut") for i in range(100)], {}, "no request was completed"),
        ([answered(i) for i in range(100)], {"self_check": CHECKED}, "self-check: gap_ms_error p50 is 1.000"),
    ],
)
def test_what_makes_a_run_invalid(exchanges: list[Exchange], more: dict[str, Any], reason: str) -> None:
    figures = told(exchanges, **more)
    assert not figures["valid"]
    assert any(reason in each for each in figures["reasons"])
