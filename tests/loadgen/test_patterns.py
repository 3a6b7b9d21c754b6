"""Arrival patterns against closed forms: means, variations, quantiles, the idle time of M/G/infinity."""

import itertools
import math
import random
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from valve_loadgen import patterns, stats
from valve_loadgen.patterns import KINDS, Pattern

SPAN_S, RATE = 2000.0, 10.0


def gaps(times: list[float]) -> list[float]:
    return [later - earlier for earlier, later in itertools.pairwise(times)]


def variation(values: list[float]) -> float:
    return statistics.pstdev(values) / statistics.fmean(values)


def test_constant_is_constant() -> None:
    times = patterns.constant(4.0, 2.0)
    assert times == [0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 1.75]


def test_poisson_gaps_are_exponential() -> None:
    found = gaps(patterns.poisson(RATE, SPAN_S, random.Random(1)))
    assert len(found) == pytest.approx(RATE * SPAN_S, rel=0.03)
    for q in (0.1, 0.5, 0.9, 0.99):
        assert stats.percentile(found, q) == pytest.approx(-math.log(1 - q) / RATE, rel=0.05)


@pytest.mark.parametrize("burstiness", [0.25, 1.0, 4.0])
def test_gamma_has_its_variation_and_its_rate(burstiness: float) -> None:
    found = gaps(patterns.gamma(RATE, SPAN_S, burstiness, random.Random(2)))
    assert variation(found) == pytest.approx(1 / math.sqrt(burstiness), rel=0.05)
    assert 1 / statistics.fmean(found) == pytest.approx(RATE, rel=0.05)


def test_nothing_comes_while_off() -> None:
    times = patterns.on_off(RATE, SPAN_S, 5.0, 15.0, random.Random(3))
    assert all(at_s % 20 < 5 for at_s in times)
    assert len(times) == pytest.approx(RATE * SPAN_S / 4, rel=0.05)


def test_a_ramp_climbs_in_a_line() -> None:
    times = patterns.ramp(0.0, RATE, SPAN_S, random.Random(4))
    assert len(times) == pytest.approx(RATE * SPAN_S / 2, rel=0.03)
    assert stats.percentile(times, 0.5) == pytest.approx(SPAN_S / math.sqrt(2), rel=0.03)


@pytest.mark.parametrize("load", [0.3, 1.0, 2.0])
def test_the_idle_time_of_poisson_arrivals_is_that_of_m_g_infinity(load: float) -> None:
    """Whatever the service times, idle = e^-(mean in flight)."""
    draw = random.Random(5)
    mean_s = load / RATE
    begins = patterns.poisson(RATE, SPAN_S, draw)
    busy = [(round(at * 1e9), round((at + draw.uniform(0, 2 * mean_s)) * 1e9)) for at in begins]
    idle = stats.drained_ns(busy, 0, round(SPAN_S * 1e9)) / 1e9 / SPAN_S
    assert idle == pytest.approx(math.exp(-load), rel=0.05)


@given(kind=st.sampled_from(KINDS), rate=st.floats(0.1, 50), seed=st.integers())
def test_every_pattern_is_sorted_inside_its_span_and_repeats(
    kind: patterns.Kind, rate: float, seed: int
) -> None:
    pattern = Pattern(kind, rate, to_rate=2 * rate)
    times = pattern.times(10.0, random.Random(seed))
    assert times == sorted(times)
    assert all(0 <= at_s < 10 for at_s in times)
    assert times == pattern.times(10.0, random.Random(seed))


def test_a_pattern_says_what_it_is() -> None:
    assert str(Pattern("onoff", 3, on_s=2, off_s=8)) == (
        "onoff arrivals, 3 requests/s for 2 s, then 8 s nothing"
    )
