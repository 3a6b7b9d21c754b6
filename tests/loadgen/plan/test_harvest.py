"""What gaps are worth: fractions of observed time, intervals over blocks, shares by gap and replica."""

import random

import pytest

from valve_loadgen.plan import harvest
from valve_loadgen.plan.harvest import GAP_EDGES_S, Scope
from valve_loadgen.plan.observed import outcome

GAPS = outcome([(0, 0.0, 40.0), (0, 50.0, 50.5), (1, 20.0, 100.0)])


def scope(**changed: float) -> Scope:
    return Scope(**{"replicas": 2, "span_s": 100.0, "replica_s": 200.0, "cooldown_s": 1.0, **changed})  # type: ignore[arg-type]


def test_fractions_are_of_replica_time() -> None:
    told = harvest.measure(GAPS, scope(), 10, 0.7)
    assert told.drained_fraction == pytest.approx(120.5 / 200)
    assert told.harvest_fraction == pytest.approx((40 + 79) / 200)
    assert told.preemptions_per_request == pytest.approx(0.1)
    assert told.replica_share == [pytest.approx(0.405), pytest.approx(0.8)]


def test_unobserved_time_does_not_count() -> None:
    told = harvest.measure(GAPS, scope(replica_s=150.0), None, 0.7)
    assert told.drained_fraction == pytest.approx(120.5 / 150)
    assert told.preemptions_per_request is None


def test_the_timeline_adds_up_to_the_whole() -> None:
    told = harvest.measure(GAPS, scope(), 10, 0.7)
    mean = sum(share for _at_s, share in told.timeline) / len(told.timeline)
    assert mean == pytest.approx(told.harvest_fraction)
    assert [share for at_s, share in told.timeline if at_s < 20] == [pytest.approx(0.5)] * 24


def test_the_sweep_falls_and_contains_the_plans_cooldown() -> None:
    told = harvest.measure(GAPS, scope(), 10, 0.7)
    fractions = [swept.harvest_fraction for swept in told.sweep]
    assert fractions == sorted(fractions, reverse=True)
    assert fractions[0] == pytest.approx(told.drained_fraction)
    chosen = next(swept for swept in told.sweep if swept.cooldown_s == 1.0)
    assert chosen.harvest_fraction == pytest.approx(told.harvest_fraction)


def test_a_slower_offline_engine_harvests_less() -> None:
    full, half = (harvest.measure(GAPS, scope(offline_speed=speed), 10, 0.7).harvest for speed in (1.0, 0.5))
    assert full.value is not None
    assert half.value == pytest.approx(full.value / 2)


def test_drained_time_is_shared_out_by_the_length_of_gaps() -> None:
    told = harvest.measure(GAPS, scope(), 10, 0.7)
    assert sum(told.gap_share) == pytest.approx(1.0)
    assert len(told.gap_share) == len(GAP_EDGES_S) - 1
    for share, low, high in zip(told.gap_share, GAP_EDGES_S, GAP_EDGES_S[1:], strict=False):
        inside = sum(gap for gap in (40.0, 0.5, 80.0) if low <= gap < high)
        assert share == pytest.approx(inside / 120.5)


def test_gaps_beyond_the_edges_count_at_the_ends() -> None:
    gaps = outcome([(0, 0.0, 0.001), (0, 1.0, 400_001.0)])
    shares = harvest.measure(gaps, Scope(1, 500_000.0, 500_000.0, 0.0), 1, 0.1).gap_share
    assert shares[0] == pytest.approx(0.001 / 400_000.001)
    assert shares[-1] == pytest.approx(400_000 / 400_000.001)


@pytest.mark.parametrize(
    ("span_s", "block_s"), [(14 * 86_400, 86_400), (86_400, 3600), (3600, 300), (60, 7.5), (1200, 60)]
)
def test_blocks_are_as_long_as_leaves_enough_of_them(span_s: float, block_s: float) -> None:
    assert harvest.block_s(span_s) == block_s


def test_the_interval_covers_the_truth_of_a_known_process() -> None:
    """Blocks drained by chance, 30 % of them: the interval holds that, and is neither wide nor narrow."""
    source = random.Random(4)
    gaps = outcome((0, 60.0 * block, 60.0 * block + 60) for block in range(1000) if source.random() < 0.3)
    told = harvest.measure(gaps, Scope(1, 60_000.0, 60_000.0, 0.0), 1, 0.1)
    assert told.harvest.low is not None
    assert told.harvest.high is not None
    assert told.harvest.low < 0.3 < told.harvest.high
    assert 0.03 < told.harvest.high - told.harvest.low < 0.09
