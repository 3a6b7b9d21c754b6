"""The HTML report of a colocation run: it holds what the report says, and the report is as described."""

from typing import Any

import pytest

from valve_loadgen import harvest
from valve_loadgen.baselines import availability
from valve_loadgen.colocate_page import html
from valve_loadgen.ledger import ledger, open_fraction
from valve_loadgen.results import VALVE, Results
from valve_loadgen.timeline import timelines

from .test_report_schema import problems
from .test_results import MS, SECOND, four_arms, window
from .told import close, opened, request, resumed, stopped


def full_report(results: Results) -> dict[str, Any]:
    """What colocate.py writes, its circumstances invented."""
    return {
        **results.report(),
        "valid": True,
        "reasons": [],
        "rounds": 2,
        "window_s": 10.0,
        "load": "a <load>",
        "engines": ["llamacpp", "llamacpp"],
        "cooldown_ms": None,
        "seed": 1,
        "statement": "what alone means",
        "placement": "engines on core 0",
        "machine": {"cpu": "a cpu", "cores": 2, "kernel": "6"},
        "commands": {"online": "python -m engine"},
        "date": "2026-11-25",
        "baselines_available": availability(),
        "self_check": {"valid": True, "reasons": []},
        "harvest": harvest.report(results),
        "timelines": timelines(results),
        "gate_open_fraction": open_fraction(results),
        "requests": ledger(results, []),
    }


def measured() -> Results:
    """Two rounds with a baseline; the first request of each round with Valve preempts."""
    results = four_arms(2)
    for index, valve in enumerate(results.of(VALVE)):
        valve.offline_bins = [7] * 100
        first = valve.exchanges[0]
        at_ns, end_ns = first.sched_ns, first.done_ns
        results.events += [
            close(4 * index + 1, first.request_id, at_ns + 20),
            stopped(4 * index + 1, at_ns + 400_000),
            request(first.request_id, at_ns + 10, end_ns),
            opened(4 * index + 2, end_ns + 50 * MS),
            resumed(4 * index + 2, end_ns + 50 * MS + 5),
        ]
    results.windows += [window("shared_nice", index, 120, 11, 400) for index in range(2)]
    return results


def test_the_report_is_as_described() -> None:
    assert problems("colocate", full_report(measured())) == []


def test_the_page_shows_every_arm_and_chart_and_fetches_nothing() -> None:
    page = html(full_report(measured()))
    for part in ("online alone", "shared with Valve", "shared, nice 19", "a &lt;load&gt;", "gate closed"):
        assert part in page
    for title in ("Time to first token", "Preemption latency", "What each cool-down would yield"):
        assert f"<h2>{title}</h2>" in page
    assert page.count("<svg") == 10
    assert "http://" not in page
    assert "<script" not in page


def test_reasons_come_first() -> None:
    page = html({**full_report(measured()), "valid": False, "reasons": ["the client sent late"]})
    assert page.index("the client sent late") < page.index("The arms on the same arrivals")


@pytest.mark.parametrize("results", [Results(), four_arms(1)])
def test_a_run_without_preemptions_or_anything_has_a_page(results: Results) -> None:
    assert "No preemption was measured" in html(full_report(results))


def test_the_cost_of_a_preemption_is_beside_the_same_request_alone() -> None:
    results = measured()
    (first, _second) = results.report()["preempting_requests"]
    assert first["latency_ms"] == pytest.approx(0.4)
    assert (first["ttft_ms"], first["ttft_alone_ms"]) == (101, 100)
    assert results.windows[0].end_ns - results.windows[0].start_ns == 10 * SECOND
