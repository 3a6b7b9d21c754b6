"""A colocation report is read back; windows are simulated to their end."""

import json

import orjson
import pytest

from valve_loadgen.errors import BenchError
from valve_loadgen.plan import measured
from valve_loadgen.plan.measured import predict

from .runs import COOLDOWN_S, ENGINE, WINDOW_S, report, windows
from .traffic import requests_of


def test_a_report_is_read_back() -> None:
    found = measured.read(json.dumps(report(1)), "report.json")
    assert found.requests == windows(1).__class__(
        **{**vars(windows(1)), "deployments": found.requests.deployments}
    )
    assert found.cooldown_s == COOLDOWN_S
    assert found.harvest_fraction < found.drained_fraction < 1
    assert measured.distance(found, predict(ENGINE, found.requests, COOLDOWN_S)) == pytest.approx(0, abs=1e-9)


def test_distance_is_the_mean_log_ratio_and_skips_failures() -> None:
    document = report(1)
    for row in document["requests"]:
        row["ttft_ms"] *= 2
        row["total_ms"] = None
    found = measured.read(orjson.dumps(document).decode(), "report.json")
    assert measured.distance(found, predict(ENGINE, found.requests, COOLDOWN_S)) == pytest.approx(
        0.6931, abs=1e-3
    )


def test_a_window_lasts_until_its_last_request_has_ended() -> None:
    late = requests_of([(WINDOW_S - 1.0, 17, 100)], WINDOW_S)
    found = predict(ENGINE, late, COOLDOWN_S)
    whole_s = WINDOW_S - 1.0 + found.total_ms[0] / 1e3
    assert whole_s > WINDOW_S
    assert found.drained_fraction == pytest.approx((WINDOW_S - 1.0) / whole_s)
    assert found.open_fraction == pytest.approx(found.drained_fraction)


def test_without_a_fixed_cooldown_it_is_the_one_that_was_seen() -> None:
    document = {**report(1), "cooldown_ms": None, "harvest": {"cooldown_ms": 62.0}}
    assert measured.read(json.dumps(document), "report.json").cooldown_s == 0.062


@pytest.mark.parametrize("text", ["{", "{}", json.dumps({**report(1), "requests": [{}]}), "[]"])
def test_another_document_is_refused(text: str) -> None:
    with pytest.raises(BenchError, match=r"r\.json: not a whole report of `valve bench colocate`"):
        measured.read(text, "r.json")
