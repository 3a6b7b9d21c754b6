"""Drain against budget: the simulation under slices against closed forms, and what the comparison says."""

from array import array

import pytest

from valve_loadgen.errors import BenchError
from valve_loadgen.plan import kernel
from valve_loadgen.plan.advice import advice
from valve_loadgen.plan.engine import PRESETS, Engine
from valve_loadgen.plan.kernel import Budget, Fleet, Rule
from valve_loadgen.plan.policies import LOADS, Terms, at_load, compare, slo_ms_of
from valve_loadgen.plan.routing import BALANCED, ROUTINGS

from .planned import planned
from .traffic import poisson, requests_of

ONE = Fleet(1, [(0, 1)], Rule.ROTATE)
STEADY = Engine(step_ms=10.0, sequence_us=0.0, prefill_tokens_per_s=1e12)


def test_one_long_stream_yields_what_its_slo_leaves() -> None:
    """10 ms of every 50 are the engine's; the rest is for slices, but for a token and a reserve."""
    stream = requests_of([(0.0, 1, 5000)], 300.0)
    told = kernel.simulate(STEADY, stream, ONE, Budget(slo_s=0.05, stop_s=0.0))
    took_s = told.done_s[0] - told.first_s[0]
    assert took_s / 4999 == pytest.approx(0.05, rel=0.02)
    assert took_s / 4999 <= 0.05
    assert told.slice_s == pytest.approx(took_s - 4999 * 0.01, abs=0.2)
    assert told.slices <= took_s / (2**27 / 1e9) + 1


def test_stops_cost_time_and_no_slice_is_taken_from_a_single_token() -> None:
    stream = requests_of([(0.0, 1, 2000)], 200.0)
    free, dear = (kernel.simulate(STEADY, stream, ONE, Budget(0.05, stop_s)) for stop_s in (0.0, 0.002))
    assert dear.done_s[0] <= free.done_s[0] + 0.1, "both are within the SLO"
    assert dear.slice_s < free.slice_s
    singles = requests_of([(at_s, 100, 1) for at_s in range(10)], 20.0)
    assert kernel.simulate(STEADY, singles, ONE, Budget(0.05, 0.0)).slices == 0


def test_without_anything_to_spend_it_is_the_undisturbed_simulation() -> None:
    traffic = poisson(2.0, 100.0, lambda draw: (draw.randint(1, 3000), draw.randint(1, 200)))
    alone = kernel.simulate(PRESETS["8b"], traffic, ONE)
    sliced = kernel.simulate(PRESETS["8b"], traffic, ONE, Budget(slo_s=0.001, stop_s=0.0))
    assert sliced.slices == 0
    for name in ("first_s", "done_s"):
        for ours, theirs in zip(getattr(sliced, name), getattr(alone, name), strict=True):
            assert ours == pytest.approx(theirs, abs=1e-4)


def test_an_slo_of_nothing_is_refused() -> None:
    with pytest.raises(BenchError, match="cannot simulate"):
        kernel.simulate(STEADY, requests_of([(0.0, 1, 2)], 1.0), ONE, Budget(0.0, 0.0))


def test_every_load_and_routing_is_compared_and_budget_is_never_behind() -> None:
    traffic = poisson(3.0, 200.0, lambda draw: (draw.randint(1, 2000), draw.randint(2, 400)))
    found = compare(traffic, PRESETS["8b"], 2, Terms(0.05, 8, 50.0), seed=1)
    assert list(found.by_routing) == list(ROUTINGS)
    for points in found.by_routing.values():
        assert [point.load for point in points] == list(LOADS)
        for point in points:
            assert point.met is not None
            assert point.met_alone is not None
            assert point.met >= point.met_alone - 0.01
            assert point.budget >= point.drain - 0.01
            assert point.slices_per_s <= 1e9 / 2**27
            assert point.ttft_ms < 1.1 * point.ttft_alone_ms
    balanced = found.by_routing[BALANCED]
    assert balanced[0].budget > balanced[-1].budget
    assert balanced[2].budget > 0.4


def test_load_is_scaled_and_the_traffic_bounded() -> None:
    many = requests_of([(index / 100, 10, 10) for index in range(20_000)], 200.0)
    half = at_load(many, 0.5, seed=1)
    assert len(half) == pytest.approx(4000, rel=0.05)
    assert half.span_s == pytest.approx(80.0, rel=0.01)
    double = at_load(many, 2.0, seed=1)
    assert (len(double), double.span_s) == (4000, 20.0)
    assert isinstance(double.at_s, array)


def test_the_slo_follows_the_engine_and_the_advice_names_it() -> None:
    assert slo_ms_of(PRESETS["8b"]) == 50.0
    assert any("Policy budget would give" in sentence for sentence in advice(planned([6.0])))
