"""Idle gaps are what busy intervals leave."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from valve_loadgen import stats
from valve_loadgen.plan.observed import idle

intervals = st.lists(st.tuples(st.integers(0, 90), st.integers(1, 10)).map(lambda p: (p[0], p[0] + p[1])))


@given(intervals)
def test_gaps_are_disjoint_and_as_long_as_the_drained_time(busy: list[tuple[int, int]]) -> None:
    gaps = idle(busy, 100.0)
    assert sum(end - start for start, end in gaps) == pytest.approx(stats.drained_ns(busy, 0, 100))
    assert all(start < end for start, end in gaps)
    assert all(before[1] < after[0] for before, after in itertools.pairwise(gaps))


def test_the_whole_span_is_a_gap_when_nothing_happens() -> None:
    assert idle([], 5.0) == [(0.0, 5.0)]
    assert idle([(0.0, 5.0)], 5.0) == []
