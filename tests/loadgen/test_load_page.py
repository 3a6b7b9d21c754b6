"""The HTML report of a load run."""

from typing import Any

from valve_loadgen.exchange import Exchange
from valve_loadgen.load_page import html
from valve_loadgen.load_report import Measured, report

from .test_load_report import SECOND, answered

TOLD = {
    "target": "http://x",
    "model": "tiny",
    "endpoint": "chat",
    "load": "steady",
    "seed": 1,
    "window": {"warmup_s": 0.0, "tail_s": 0.0, "counted_s": 10.0},
    "processes": 1,
    "fixed_length": True,
    "prompts_by": "usage",
    "machine": {"cpu": "a cpu", "cores": 2, "kernel": "6"},
    "date": "2026-11-25",
}


def page(exchanges: list[Exchange], **more: Any) -> str:
    return html({**report(Measured(exchanges, 0, 10 * SECOND), None, None), **TOLD, **more}, exchanges)


def test_a_valid_run_has_figures_and_charts() -> None:
    shown = page([answered(i, ttft_ms=100 + i % 7) for i in range(100)])
    assert "103.0 ms" in shown
    assert shown.count("<svg") == 4
    assert "too few" in shown


def test_an_invalid_run_shows_reasons_and_no_figure() -> None:
    shown = page([answered(i, lag_ms=50) for i in range(100)])
    assert "INVALID" in shown
    assert "sent late" in shown
    assert "<svg" not in shown


def test_requests_that_were_cancelled_leave_the_air() -> None:
    exchanges = [answered(i) for i in range(100)]
    for exchange in exchanges[50:]:
        exchange.cancelled, exchange.error = True, "closed by the client"
    assert page(exchanges).count("<svg") == 4
