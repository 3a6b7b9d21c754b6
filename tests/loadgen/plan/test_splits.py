"""Fixed splits and pages kept ready: what they keep, and the best split of all in hindsight."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from valve_loadgen.plan import memory, splits
from valve_loadgen.plan.kv import Usage
from valve_loadgen.plan.splits import Prealloc, Split

TOTAL = 100
WAVE = Usage(
    3600.0, [change for at in range(0, 3600, 100) for change in ((at + 1.0, 40, 0), (at + 51.0, -40, 0))], 50
)


def test_a_split_takes_what_it_lacks_and_gives_that_back() -> None:
    split = Split(20)
    assert [split.reserve(0, used, 0, 0, TOTAL) for used in (0, 20, 21, 30, 10)] == [20, 20, 21, 30, 20]


def test_with_a_chunk_it_takes_more_at_a_time() -> None:
    split = Split(20, 10)
    assert [split.reserve(0, used, 0, 0, TOTAL) for used in (21, 31, 32, 25, 0)] == [31, 31, 42, 35, 20]


@given(st.lists(st.integers(0, TOTAL), max_size=50))
def test_between_five_and_ten_pages_are_ready(used: list[int]) -> None:
    policy = Prealloc()
    for pages in used:
        kept = policy.reserve(0, pages, 0, 0, TOTAL)
        assert min(pages + 5, TOTAL) <= kept <= min(pages + 10, TOTAL)


def test_a_split_at_the_peak_reclaims_nothing() -> None:
    told = memory.replay([WAVE], splits.at_peak, TOTAL, announced=False)
    assert told.reclaims_per_hour == 0
    assert told.offline_share == pytest.approx(0.6)


def test_the_best_split_is_the_largest_that_leaves_as_much() -> None:
    found = splits.best_split(WAVE, TOTAL, 0.7, 0, 0.0)
    assert found is not None
    assert found.offline_share == pytest.approx(0.7, abs=0.02)
    assert found.offline_share >= 0.7
    assert found.reclaims_per_hour == 36
    assert splits.best_split(WAVE, TOTAL, 0.99, 0, 0.0) is None
