"""What the budget arm did, from windows made by hand; how it is told in the table and on the page."""

import io

import pytest
from rich.console import Console

from valve_loadgen import budget_report
from valve_loadgen.colocate_page import html
from valve_loadgen.results import BUDGET, NO_GATE, ONLINE_ALONE, VALVE, Results
from valve_loadgen.table import render

from .test_colocate_page import full_report
from .test_report_schema import problems
from .test_results import MS, SECOND, four_arms, window
from .told import opened, stopped


def with_budget() -> Results:
    """TPOT 30 ms against 10 alone; two slices a round, one of them in its window."""
    results = four_arms()
    for index in range(8):
        results.windows.append(window(BUDGET, index, 103, 30, 450))
        for at_ns in (index * 100 * SECOND, index * 100 * SECOND + 2 * SECOND):
            results.budget_events.append(opened(index, at_ns) | {"slice_until_ns": at_ns + 100 * MS})
            results.budget_events.append(stopped(index, at_ns) | {"latency_ns": MS // 2})
    return results


def test_attainment_slices_and_inflation_are_those_of_the_windows() -> None:
    told = budget_report.report(with_budget(), 25.0)
    assert told["attainment"] == {ONLINE_ALONE: 1.0, NO_GATE: 1.0, VALVE: 1.0, BUDGET: 0.0}
    assert told["slices"] == 8
    assert told["slices_per_s"] == pytest.approx(0.1)
    assert told["tpot_inflation"]["p50"] == pytest.approx(3.0)
    assert told["ttft_inflation"]["p50"] == pytest.approx((103 + 9.5) / (100 + 9.5))
    assert told["stop_latency_ms"]["p50"] == 0.5


def test_a_failed_request_is_not_within_the_slo_and_a_single_token_has_none() -> None:
    good, failed, single = window(BUDGET, 0, 100, 10, 0).exchanges[:3]
    failed.error = "reset"
    single.token_ns, single.usage_tokens = single.token_ns[:1], 1
    assert budget_report.attainment([good, failed, single], 25.0) == 0.5
    assert budget_report.attainment([], 25.0) is None


def test_it_is_no_baseline_and_is_told_to_people() -> None:
    results = with_budget()
    report = full_report(results) | {"budget": budget_report.report(results, 25.0)}
    assert report["baselines"] == {}
    assert problems("colocate", report) == []
    stream = io.StringIO()
    Console(file=stream, width=150).print(render(report))
    for part in ("Policy budget, TPOT SLO 25 ms", "shared, policy budget", "requests within the SLO", "0.0%"):
        assert part in stream.getvalue()
    assert "within 25 ms a token" in html(report)
