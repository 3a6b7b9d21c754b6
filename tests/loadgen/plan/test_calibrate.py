"""Engine figures are found again from what an engine of known figures would have been measured at."""

import json

import pytest

from valve_loadgen.errors import BenchError
from valve_loadgen.plan import measured
from valve_loadgen.plan.calibrate import calibrate

from .runs import COOLDOWN_S, ENGINE, SPEED, report


def test_known_figures_are_found_through_noise() -> None:
    found = calibrate(measured.read(json.dumps(report(1, noise=0.1)), "r.json"), "r.json")
    assert found.engine.batch == ENGINE.batch
    assert found.engine.step_ms == pytest.approx(ENGINE.step_ms, rel=0.15)
    assert found.engine.prefill_tokens_per_s == pytest.approx(ENGINE.prefill_tokens_per_s, rel=0.1)
    assert found.offline_speed == pytest.approx(SPEED, rel=0.02)
    assert found.cooldown_s == COOLDOWN_S
    assert found.error == pytest.approx(0.08, abs=0.03)
    assert "r.json" in str(found.engine)


def test_too_few_requests_are_refused() -> None:
    with pytest.raises(BenchError, match="too few to calibrate from"):
        calibrate(measured.read(json.dumps(report(1, per_window=2)), "r.json"), "r.json")
