"""The limit's promise: in no hour of any trace more reclaims than it says."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from valve_sidecar.reclaim_limit import WINDOW_S, ReclaimLimit

GAPS_S = st.one_of(st.floats(0, 30), st.floats(0, 2 * WINDOW_S), st.just(WINDOW_S))


def test_what_was_spent_comes_back_after_an_hour() -> None:
    limit = ReclaimLimit(2)
    limit.spend(0.0)
    limit.spend(10.0)
    assert limit.left(WINDOW_S - 0.1) == 0
    assert limit.left(WINDOW_S) == 1
    assert limit.left(WINDOW_S + 10) == 2


def test_more_than_is_left_is_refused() -> None:
    limit = ReclaimLimit(1)
    limit.spend(5.0)
    with pytest.raises(ValueError, match="1 reclaims"):
        limit.spend(6.0)


@given(st.integers(1, 5), st.lists(GAPS_S, max_size=60))
def test_no_hour_holds_more_than_the_limit(per_hour: int, gaps_s: list[float]) -> None:
    limit, now_s, spent_s = ReclaimLimit(per_hour), 0.0, []
    for gap_s in gaps_s:
        now_s += gap_s
        if limit.left(now_s):
            limit.spend(now_s)
            spent_s.append(now_s)
    for first_s in spent_s:
        assert sum(0 <= at_s - first_s < WINDOW_S for at_s in spent_s) <= per_hour
