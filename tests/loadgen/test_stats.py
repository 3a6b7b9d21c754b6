"""The arithmetic against closed forms."""

import random
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from valve_loadgen import stats
from valve_loadgen.stats import Estimate

FLOATS = st.floats(-1e6, 1e6)


@given(values=st.lists(FLOATS, min_size=1))
def test_the_median_is_the_median(values: list[float]) -> None:
    assert stats.percentile(values, 0.5) == pytest.approx(statistics.median(values), abs=1e-6)


@given(values=st.lists(FLOATS, min_size=2))
def test_percentiles_agree_with_the_inclusive_quantiles(values: list[float]) -> None:
    cuts = statistics.quantiles(values, n=100, method="inclusive")
    assert stats.percentile(values, 0.99) == pytest.approx(cuts[98], abs=1e-6)
    assert stats.percentile(values, 0.10) == pytest.approx(cuts[9], abs=1e-6)


def test_percentiles_of_a_known_sequence() -> None:
    values = list(range(101))
    assert [stats.percentile(values, q) for q in (0, 0.25, 0.5, 0.99, 1)] == [0, 25, 50, 99, 100]


def test_no_samples_have_no_percentile() -> None:
    with pytest.raises(ValueError, match="no samples"):
        stats.percentile([], 0.5)


def test_p99_is_refused_under_a_thousand_samples() -> None:
    assert stats.summary([1.0] * 999) == {"p50": 1.0, "p90": 1.0, "p99": None, "n": 999}
    assert stats.summary([1.0] * 1000)["p99"] == 1.0
    assert stats.summary([]) == {"p50": None, "p90": None, "p99": None, "n": 0}


@given(factor=st.floats(0.5, 2.0), values=st.lists(st.floats(1, 100), min_size=3, max_size=20))
def test_a_constant_factor_is_found_without_spread(factor: float, values: list[float]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stats, "RESAMPLES", 50)
        estimate = stats.ratio_of_medians([[(value, factor * value) for value in values]])
    assert estimate.value == pytest.approx(factor)
    assert estimate.low == pytest.approx(factor)
    assert estimate.high == pytest.approx(factor)


def test_the_interval_covers_the_truth_about_as_often_as_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stats, "RESAMPLES", 300)
    draw, covered = random.Random(7), 0
    for trial in range(60):
        pairs = [(draw.gauss(100, 5), draw.gauss(110, 5)) for _ in range(60)]
        estimate = stats.ratio_of_medians([pairs], seed=trial)
        assert estimate.low is not None
        assert estimate.high is not None
        covered += estimate.low <= 1.1 <= estimate.high
    assert covered >= 50


def test_whole_rounds_are_drawn_when_there_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of the rounds inflate by 2: the interval must admit both, as single pairs would not."""
    monkeypatch.setattr(stats, "RESAMPLES", 400)
    rounds = [[(1.0, 1.0 + i % 2)] * 200 for i in range(8)]
    by_round = stats.ratio_of_medians(rounds)
    assert (by_round.low, by_round.high) == (1.0, 2.0)


def test_two_blocks_have_no_interval() -> None:
    assert stats.ratio_of_sums([(1, 2), (1, 2)]) == Estimate(0.5)
    assert stats.ratio_of_sums([]) == Estimate(None)
    assert stats.ratio_of_sums([(1, 0)]) == Estimate(None)


def test_a_shift_is_found() -> None:
    blocks = [([1.0, 2.0, 3.0], [1.5, 2.5, 3.5])] * 5
    assert stats.difference_of_quantiles(blocks, 0.5) == Estimate(0.5, 0.5, 0.5)


@pytest.mark.parametrize(
    ("low", "high", "below", "above"),
    [(0.9, 1.01, "met", "missed"), (1.06, 1.2, "missed", "met"), (1.0, 1.2, "inconclusive", "inconclusive")],
)
def test_verdicts(low: float, high: float, below: str, above: str) -> None:
    estimate = Estimate(1.0, low, high)
    assert (estimate.below(1.05), estimate.above(1.05)) == (below, above)


def test_without_an_interval_nothing_is_concluded() -> None:
    assert Estimate(0.5).below(1.0) == Estimate(2.0).above(1.0) == "inconclusive"


@given(
    busy=st.lists(st.tuples(st.integers(0, 60), st.integers(0, 20)), max_size=8),
    start=st.integers(0, 30),
    span=st.integers(0, 40),
)
def test_drained_time_is_what_counting_moments_gives(
    busy: list[tuple[int, int]], start: int, span: int
) -> None:
    intervals = [(begin, begin + length) for begin, length in busy]
    free = [t for t in range(start, start + span) if not any(a <= t < b for a, b in intervals)]
    assert stats.drained_ns(intervals, start, start + span) == len(free)


@given(values=st.lists(FLOATS, min_size=6, max_size=60))
def test_the_medians_interval_holds_the_median(values: list[float]) -> None:
    interval = stats.median_interval(values)
    assert interval
    assert interval[0] <= statistics.median(values) <= interval[1]


def test_the_medians_interval_is_that_of_the_binomial_tables() -> None:
    """Order statistics for 95 %: ranks 1 and 6 of 6, 2 and 9 of 10, 40 and 61 of 100."""
    assert stats.median_interval(list(range(1, 7))) == [1, 6]
    assert stats.median_interval(list(range(1, 11))) == [2, 9]
    assert stats.median_interval(list(range(1, 101))) == [40, 61]
    assert stats.median_interval([1.0] * 5) is None


def test_the_medians_interval_covers_as_promised() -> None:
    draw = random.Random(7)
    for count in (15, 2000):
        hits = 0
        for _ in range(400):
            low, high = stats.median_interval([draw.expovariate(1.0) for _ in range(count)]) or (0.0, 0.0)
            hits += low <= 0.6931 <= high
        assert hits / 400 > 0.93


def test_quantiles_say_why_one_is_missing() -> None:
    told = stats.quantiles([1.0, 2.0, 3.0])
    assert (told["p50"], told["p99"], told["max"], told["n"]) == (2.0, None, 3.0, 3)
    assert told["reason"] == "p99 needs 1000 samples, has 3"
    assert stats.quantiles([])["p50"] is None
    assert "reason" not in stats.quantiles([float(i) for i in range(1000)])
