"""The words: each of the cases is told as such."""

from dataclasses import replace

from valve_loadgen.plan.advice import advice, case, verdict
from valve_loadgen.plan.fleet import plan
from valve_loadgen.plan.inputs import Traffic
from valve_loadgen.plan.observed import Observed, outcome
from valve_loadgen.plan.routing import PACK_FIRST

from .planned import OPTIONS, planned
from .traffic import requests_of


def test_an_evenly_loaded_pool_yields_almost_nothing_and_packing_is_named() -> None:
    told = planned([10.0])
    assert verdict(told).startswith("Almost nothing here:")
    assert "evenly loaded pool" in case(told)
    assert "Only fewer requests in flight" in case(told)
    assert any(text.startswith("Pack-first routing would give") for text in advice(told))


def test_a_long_tail_is_told_and_yields_much() -> None:
    told = planned([0.2, 0.1, 0.05, 0.02])
    assert verdict(told).startswith("Much:")
    assert "long tail: 4 deployments" in case(told)


def test_deployments_that_outnumber_replicas_are_said_to_share() -> None:
    assert "3 deployments with replicas that some share" in case(planned([0.2, 0.1, 0.1], replicas=2))


def test_bursts_are_told_from_chance() -> None:
    bursts = [(600.0 * burst + 0.01 * number, 500, 100) for burst in range(6) for number in range(300)]
    told = plan(Traffic(requests_of(bursts, 3600.0)), OPTIONS)
    assert "a bursty pool" in case(told)


def test_a_packed_fleet_is_told() -> None:
    told = planned([2.0], routing=PACK_FIRST)
    assert "packed fleet" in case(told)
    assert not any("Pack-first" in text for text in advice(told))


def test_dedicated_replicas_are_proposed_to_a_pool_of_deployments() -> None:
    told = planned([9.0, 0.02, 0.02, 0.02], routing="balanced")
    assert any(text.startswith("Replicas of their own") for text in advice(told))


def test_overload_is_told() -> None:
    told = planned([60.0], replicas=1)
    assert any("cannot serve it" in text for text in advice(told))
    assert any("wait" in text for text in advice(told))


def test_frequent_preemption_and_short_input_are_told() -> None:
    often = advice(planned([0.1]))
    assert any("Most requests find the gate open" in text for text in often)
    short = plan(Traffic(requests_of([(0.0, 1, 1)], 1e-9)), OPTIONS)
    assert verdict(short)


def test_monitoring_gets_a_bound_for_packing() -> None:
    seen = Observed(outcome([(0, 0.0, 2.0)]), ["a", "b"], 100.0, 200.0, 300.0, packed_fraction=0.5)
    told = advice(plan(Traffic(observed=seen), replace(OPTIONS, replicas=2)))
    assert "Your replicas look like an evenly loaded pool: 1.5 requests" in told[1]
    assert any("50% of the fleet would be empty" in text for text in told)
