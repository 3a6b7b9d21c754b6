"""Predicted against measured: near where the engine is the same, far where it is not."""

import json
from dataclasses import replace

import pytest

from valve_loadgen.errors import BenchError
from valve_loadgen.plan import measured
from valve_loadgen.plan.calibrate import calibrate
from valve_loadgen.plan.check import check

from .runs import WINDOWS, report


def test_another_seed_is_predicted_within_the_goal() -> None:
    calibration = calibrate(measured.read(json.dumps(report(1, noise=0.1)), "a.json"), "a.json")
    found = check(calibration, measured.read(json.dumps(report(2, noise=0.1)), "b.json"))
    assert found.within_goal
    assert found.harvest.points < 1
    assert len(found.windows) == WINDOWS
    assert max(each.points for each in found.windows) < 2
    assert found.as_json()["harvest"]["measured"] == found.harvest.measured
    assert "points apart (goal: 3)" in str(found)


def test_without_timelines_the_whole_is_checked() -> None:
    found = measured.read(json.dumps({**report(1), "timelines": []}), "a.json")
    assert check(calibrate(found, "a.json"), found).windows == []


def test_another_engine_is_not() -> None:
    calibration = calibrate(measured.read(json.dumps(report(1)), "a.json"), "a.json")
    slower = replace(calibration, engine=replace(calibration.engine, prefill_tokens_per_s=60.0))
    found = check(slower, measured.read(json.dumps(report(2)), "b.json"))
    assert not found.within_goal
    assert found.harvest.predicted < found.harvest.measured


def test_a_report_of_an_older_version_calibrates_but_cannot_be_checked() -> None:
    old = {key: value for key, value in report(1).items() if key not in ("gate_open_fraction", "timelines")}
    found = measured.read(json.dumps(old), "a.json")
    calibration = calibrate(found, "a.json")
    assert calibration.offline_speed == 1.0
    with pytest.raises(BenchError, match="how long the gate was open"):
        check(calibration, found)
