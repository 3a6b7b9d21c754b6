"""Gaps, cool-down sweep and prediction from windows made by hand, and against M/G/infinity."""

import math
import random

import pytest

from valve_loadgen import harvest, patterns
from valve_loadgen.exchange import Exchange
from valve_loadgen.results import OFFLINE_ALONE, ONLINE_ALONE, VALVE, Results, Window

from .told import close, opened, request

MS, SECOND = 1_000_000, 1_000_000_000


def busy(*spans_ms: tuple[float, float]) -> list[Exchange]:
    spans_ns = [(round(a * MS), round(b * MS)) for a, b in spans_ms]
    return [Exchange(f"r{a}", f"r{a}", a, a, 0, b, 200) for a, b in spans_ns]


WINDOW = Window(ONLINE_ALONE, 0, 0, SECOND, busy((100, 200), (150, 300), (500, 600)))


def test_gaps_are_what_no_request_covers() -> None:
    assert harvest.gaps_ms(WINDOW) == [100, 200, 400]
    assert harvest.gaps_ms(Window(ONLINE_ALONE, 0, 0, SECOND)) == [1000]


def test_each_gap_yields_what_exceeds_the_cooldown_and_costs_a_preemption() -> None:
    assert harvest.predict([WINDOW], 0) == {
        "cooldown_ms": 0,
        "harvested_fraction": pytest.approx(0.7),
        "preemptions_per_request": 1.0,
    }
    at_150 = harvest.predict([WINDOW], 150)
    assert at_150["harvested_fraction"] == pytest.approx((50 + 250) / 1000)
    assert at_150["preemptions_per_request"] == pytest.approx(2 / 3)
    assert harvest.predict([WINDOW], 500)["harvested_fraction"] == 0


@pytest.mark.parametrize(("load", "cooldown_ms"), [(0.5, 0), (0.5, 100), (1.5, 20)])
def test_the_prediction_is_that_of_m_g_infinity(load: float, cooldown_ms: float) -> None:
    """A gap is exponential with the arrivals' rate, so idle x e^-(rate x cool-down) is left."""
    rate, span_s = 5.0, 4000.0
    draw = random.Random(1)
    begins_s = patterns.poisson(rate, span_s, draw)
    exchanges = busy(*((at * 1e3, (at + draw.uniform(0, 2 * load / rate)) * 1e3) for at in begins_s))
    told = harvest.predict([Window(ONLINE_ALONE, 0, 0, round(span_s * 1e9), exchanges)], cooldown_ms)
    left = math.exp(-rate * cooldown_ms / 1e3)
    assert told["harvested_fraction"] == pytest.approx(math.exp(-load) * left, rel=0.05)
    assert told["preemptions_per_request"] == pytest.approx(math.exp(-load) * left, rel=0.05)


def test_cooldowns_run_from_the_last_end_to_the_opening() -> None:
    events = [
        close(1, "a", 5 * MS),
        request("a", 5 * MS, 50 * MS),
        request("b", 6 * MS, 70 * MS),
        opened(2, 90 * MS),
        close(3, "c", 95 * MS),
        request("c", 95 * MS, 100 * MS),
        opened(4, 110 * MS),
    ]
    assert harvest.cooldowns_ms(events) == [20, 10]
    assert harvest.cooldowns_ms([opened(1, 5)]) == []


def test_the_report_sets_predicted_beside_measured() -> None:
    valve = Window(VALVE, 0, 2 * SECOND, 3 * SECOND, [], offline_tokens=60)
    windows = [WINDOW, valve, Window(OFFLINE_ALONE, 0, 0, SECOND, [], 100)]
    told = harvest.report(Results(windows))
    assert told["predicted"] == pytest.approx(0.7)
    assert told["measured"] == pytest.approx(0.6)
    (first,) = told["over_time"]
    assert first == {"round": 0, "predicted": pytest.approx(0.7), "measured": pytest.approx(0.6)}
    assert [each["cooldown_ms"] for each in told["cooldown_sweep"]] == list(harvest.COOLDOWNS_MS)


def test_nothing_measured_is_none() -> None:
    told = harvest.report(Results())
    assert (told["predicted"], told["measured"], told["over_time"]) == (None, None, [])
