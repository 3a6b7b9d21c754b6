"""A plan: every routing on the same traffic, ordered as theory says, and the formula adds up."""

import math
from dataclasses import replace

import pytest

from valve_loadgen.errors import BenchError
from valve_loadgen.plan.fleet import plan
from valve_loadgen.plan.inputs import Traffic
from valve_loadgen.plan.observed import Observed, outcome
from valve_loadgen.plan.routing import BALANCED, DEDICATED, OBSERVED, PACK_FIRST

from .planned import OPTIONS, chat, planned


def test_one_deployment_is_a_balanced_pool_several_are_dedicated() -> None:
    assert planned([1.0]).chosen == BALANCED
    assert planned([1.0, 0.1]).chosen == DEDICATED
    assert planned([1.0, 0.1], routing=PACK_FIRST).chosen == PACK_FIRST
    with pytest.raises(BenchError, match="routing 'random' is not known"):
        planned([1.0], routing="random")


def test_on_one_replica_routing_makes_no_difference() -> None:
    found = planned([0.5], replicas=1).harvests
    assert len({round(each.harvest_fraction, 9) for each in found.values()}) == 1
    assert found[BALANCED].drained_fraction == pytest.approx(math.exp(-found[BALANCED].in_flight), abs=0.03)


def test_packing_leaves_more_idle_than_any_other_routing() -> None:
    found = planned([6.0]).harvests
    assert found[PACK_FIRST].harvest_fraction > 2 * found[BALANCED].harvest_fraction
    assert found[PACK_FIRST].preemptions < found[BALANCED].preemptions
    assert found[PACK_FIRST].unused >= 1
    assert found[BALANCED].unused == 0
    assert sum(found[PACK_FIRST].outcome.served) == found[PACK_FIRST].requests


def test_dedicated_replicas_of_a_long_tail_idle_more_than_a_pool() -> None:
    found = planned([8.0, 0.05, 0.05, 0.05]).harvests
    assert found[DEDICATED].harvest_fraction > 2 * found[BALANCED].harvest_fraction


def test_gpus_saved_are_what_the_formula_says() -> None:
    told = planned([1.0], gpus_per_replica=2, offline_speed=0.9)
    fraction = told.headline.harvest_fraction
    assert told.saved(fraction) == pytest.approx(4 * 2 * fraction)
    assert f"4 x 2 x {fraction:.4f} = {8 * fraction:.1f}" in told.formula
    assert "0.900" in told.formula
    assert fraction == pytest.approx(0.9 * planned([1.0]).headline.harvest_fraction)


@pytest.mark.parametrize("load", [0.01, 0.1])
def test_traffic_is_scaled_to_the_load_asked_for(load: float) -> None:
    assert planned([2.0], load=load).load == pytest.approx(load, rel=0.05)


def test_nothing_left_is_refused() -> None:
    with pytest.raises(BenchError, match="no request is left"):
        planned([0.01], load=1e-9)
    with pytest.raises(BenchError, match="no request is left"):
        plan(Traffic(chat(0.5).until(0.0)), OPTIONS)


def test_latencies_are_told_and_p99_only_of_enough() -> None:
    many, few = planned([2.0]).headline.latency, planned([0.05]).headline.latency
    assert many is not None
    assert few is not None
    assert many.ttft_p50_ms == pytest.approx(1e3 * (0.008 + 500 / 30_000), rel=0.2)
    assert many.ttft_p99_ms is not None
    assert few.ttft_p99_ms is None
    assert many.tpot_ms == pytest.approx(8.1, rel=0.05)


def test_monitoring_is_taken_as_it_is() -> None:
    seen = Observed(outcome([(0, 0.0, 30.0), (1, 50.0, 100.0)]), ["a", "b"], 100.0, 200.0, 120.0)
    told = plan(Traffic(observed=seen), replace(OPTIONS, replicas=10, cooldown_s=0.1))
    assert (told.chosen, told.load) == (OBSERVED, None)
    assert told.headline.harvest_fraction == pytest.approx((30 + 49.9) / 200)
    assert told.saved(told.headline.harvest_fraction) == pytest.approx(10 * 79.9 / 200)


def test_logged_durations_are_simulated_as_they_are() -> None:
    from valve_loadgen.plan.access_log import AS_LOGGED

    from .traffic import poisson

    durations = poisson(0.5, 20_000.0, lambda _source: (0, 2000))
    told = plan(Traffic(durations, engine=AS_LOGGED), replace(OPTIONS, replicas=1))
    assert told.headline.in_flight == pytest.approx(1.0, rel=0.05)
    assert told.headline.drained_fraction == pytest.approx(math.exp(-1), rel=0.05)
    assert told.headline.latency is None
    assert told.load is None


def test_monitoring_cannot_be_scaled() -> None:
    seen = Observed(outcome([(0, 0.0, 30.0)]), ["a"], 100.0, 100.0, 120.0)
    with pytest.raises(BenchError, match="--load needs token counts"):
        plan(Traffic(observed=seen), replace(OPTIONS, load=0.1))


def test_the_same_traffic_gives_the_same_plan() -> None:
    assert plan(Traffic(chat(1.0)), OPTIONS) == plan(Traffic(chat(1.0)), OPTIONS)
