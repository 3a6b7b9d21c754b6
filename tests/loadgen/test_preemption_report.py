"""The figures of `valve bench preemption` from events made by hand."""

from typing import Any

import pytest

from valve_loadgen import preemption_report
from valve_loadgen.witness import Witness

from .told import close, opened, request, resumed, stopped


def stops(count: int) -> list[dict[str, Any]]:
    events: list[dict[str, Any]] = []
    for i in range(count):
        base = 1000 * (i + 1)
        events += [
            close(2 * i + 1, f"q{i}", base), stopped(2 * i + 1, base + 90),
            request(f"q{i}", base - 5, base + 400),
            opened(2 * i + 2, base + 500), resumed(2 * i + 2, base + 540),
        ]  # fmt: skip
    return events


def test_the_preemption_report() -> None:
    report = preemption_report.report(stops(500), {"q0": 900}, Witness(cycles=500))
    assert report["preemption_latency_ms"]["p50"] == pytest.approx(105e-6)
    assert report["preemption_latency_ms"]["n"] == 500
    assert report["parsed_to_stopped_ms"]["max"] == pytest.approx(95e-6)
    assert report["send_to_stopped_ms"] == {
        "p50": pytest.approx(190e-6),
        "p99": None,
        "max": pytest.approx(190e-6),
        "n": 1,
    }
    assert report["resume_latency_ms"]["p99"] == pytest.approx(40e-6)
    assert report["wake_us"]["p50"] == pytest.approx(0.088)
    assert report["mechanism"] == "freezer_signal"
    assert report["heartbeat"] == {"cycles": 500, "violations": 0, "vacuous": 0}
    assert set(report["verdicts"].values()) == {"met"}
    assert "progress in 0 of them" in preemption_report.render(report)


def test_too_few_stops_and_a_violation_are_told() -> None:
    report = preemption_report.report(stops(499), {}, Witness(cycles=499, violations=1))
    assert report["preemption_latency_ms"]["p99"] is None
    assert list(report["verdicts"].values()) == ["missed", "inconclusive", "inconclusive"]
