"""The replay: reclaims, stalls and page-hours of policies whose figures are known beforehand."""

import pytest

from valve_loadgen.plan import memory
from valve_loadgen.plan.kv import Change, Usage
from valve_loadgen.plan.memory import RECLAIM_S, Policy, Replay

TOTAL = 100


class Scripted:
    """Keeps `first`, and `then` from a time on."""

    def __init__(self, first: int, at_s: float, then: int) -> None:
        self._first, self._at_s, self._then = first, at_s, then
        self.seen: list[tuple[float, int, int, int]] = []

    def reserve(self, now_s: float, used: int, soon: int, tenants: int, total: int) -> int:
        assert total == TOTAL
        self.seen.append((now_s, used, soon, tenants))
        return self._first if now_s < self._at_s else self._then


def replayed(policy: Policy, changes: list[Change], announced: bool = True, warm_s: float = 0.0) -> Replay:
    usage = Usage(3600.0, changes, 50)
    return memory.replay([usage], lambda _: policy, TOTAL, announced=announced, warm_s=warm_s)


def test_page_hours_are_what_is_not_kept() -> None:
    told = replayed(Scripted(20, 1800.0, 60), [])
    assert told.offline_page_hours == pytest.approx(80 / 2 + 40 / 2)
    assert told.offline_share == pytest.approx(0.6)
    assert told.reclaims_s == [[1800.0]]
    assert told.reclaimed == 40
    assert told.stalls == 0


def test_what_lies_before_the_warm_up_is_not_counted() -> None:
    told = replayed(Scripted(20, 1200.0, 60), [], warm_s=1800.0)
    assert told.hours == pytest.approx(0.5)
    assert told.offline_share == pytest.approx(0.4)
    assert told.reclaims_per_hour == 0


def test_an_allocation_waits_for_the_reclaim_that_it_causes() -> None:
    told = replayed(Scripted(20, 1801.0, 60), [(1801.0, 30, 0), (1900.0, -30, 0)])
    assert told.stalls == 1
    assert told.stalled_s == pytest.approx(RECLAIM_S)


def test_one_that_was_announced_in_time_does_not() -> None:
    changes = [(1801.0, 0, 30), (1801.5, 30, -30), (1900.0, -30, 0)]
    policy = Scripted(20, 1801.0, 60)
    assert replayed(policy, changes).stalls == 0
    assert (1801.0, 0, 30, 80) in policy.seen
    assert replayed(Scripted(20, 1801.5, 60), changes, announced=False).stalls == 1


def test_prompts_beyond_those_of_an_iteration_are_not_needed_soon() -> None:
    policy = Scripted(20, 9999.0, 20)
    replayed(policy, [(5.0, 0, 70)])
    assert max(soon for _, _, soon, _ in policy.seen) == 50


def test_a_policy_that_refuses_stalls_online_work_until_it_gives_in() -> None:
    told = replayed(Scripted(20, 2000.0, 60), [(1801.0, 30, 0), (2500.0, -30, 0)])
    assert told.stalls == 1
    assert told.stalled_s == pytest.approx(199, abs=memory.TICK_S)


def test_the_busiest_hour_is_found() -> None:
    told = Replay(3.0, [[0.0, 10.0, 3601.0, 3605.0, 9000.0], [5.0]], 0, 0, 0.0, 1.0, TOTAL)
    assert told.most_in_an_hour == 3
    assert told.reclaims_per_hour == 2
