"""The simulation in C: equal to a naive one step by step, and to closed forms where there are any."""

import math
import random
from array import array
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from valve_loadgen.errors import BenchError
from valve_loadgen.plan import kernel
from valve_loadgen.plan.engine import Engine
from valve_loadgen.plan.kernel import Fleet, Rule
from valve_loadgen.plan.observed import idle, outcome

from . import naive
from .traffic import poisson, requests_of

ONE = Fleet(1, [(0, 1)], Rule.ROTATE)
STEADY = Engine(step_ms=1.0, sequence_us=0.0, prefill_tokens_per_s=1e12, batch=1 << 30)
"""A request of N tokens takes N ms, whatever else runs."""

row = st.tuples(st.floats(0, 20), st.integers(0, 4000), st.integers(0, 300), st.integers(0, 2))
engines = st.builds(
    Engine,
    st.floats(1, 50),
    st.floats(0, 3000),
    st.floats(500, 50_000),
    st.sampled_from([1, 2, 4, 256]),
    st.sampled_from([64, 2048]),
)
fleets = st.builds(
    Fleet,
    st.just(4),
    st.sampled_from([[(0, 4)] * 3, [(0, 1), (1, 1), (2, 2)], [(3, 1)] * 3]),
    st.sampled_from(Rule),
    st.integers(1, 5),
)


@settings(max_examples=300, deadline=None)
@given(engines, fleets, st.lists(row, max_size=40))
def test_it_equals_the_naive_simulation(
    engine: Engine, fleet: Fleet, rows: list[tuple[float, int, int, int]]
) -> None:
    rows.sort(key=lambda each: each[0])
    requests = requests_of([each[:3] for each in rows], 25.0, [each[3] for each in rows], 3)
    told = kernel.simulate(engine, requests, fleet)
    replicas = naive.simulate(engine, requests, fleet)
    for number, replica in enumerate(replicas):
        assert told.served[number] == len(replica.done_s)
        for request, done_s in replica.done_s.items():
            assert told.done_s[request] == pytest.approx(done_s, abs=1e-6)
            assert told.first_s[request] == pytest.approx(replica.first_s[request], abs=1e-6)
    drained_s = sum(end - start for replica in replicas for start, end in idle(replica.busy, 25.0))
    told_s = sum(end - start for start, end in zip(told.gap_start, told.gap_end, strict=True))
    assert told_s == pytest.approx(drained_s, abs=1e-5)


@pytest.mark.parametrize("in_flight", [0.3, 1.0, 3.0])
def test_an_engine_without_interference_idles_e_to_the_minus_n(in_flight: float) -> None:
    """M/G/infinity: empty e^-N of the time, whatever the service times (here two very unequal ones)."""
    service_ms = (20, 1980)
    mean_s = sum(service_ms) / 2e3
    requests = poisson(in_flight / mean_s, 40_000.0, lambda source: (0, source.choice(service_ms)), seed=7)
    told = kernel.simulate(STEADY, requests, ONE)
    blocks = kernel.harvest(told, requests.span_s, 0.0, requests.span_s)
    assert sum(blocks.drained_s) / requests.span_s == pytest.approx(math.exp(-in_flight), rel=0.05)
    assert sum(blocks.preemptions) / len(requests) == pytest.approx(math.exp(-in_flight), rel=0.05)


def test_a_cooldown_costs_what_exponential_gaps_lose() -> None:
    """Gaps of Poisson arrivals are exponential: a cool-down c leaves e^-(rate c) of the drained time."""
    requests = poisson(2.0, 40_000.0, lambda _source: (0, 500), seed=3)
    told = kernel.simulate(STEADY, requests, ONE)
    for cooldown_s in (0.05, 0.2, 1.0):
        blocks = kernel.harvest(told, requests.span_s, cooldown_s, requests.span_s)
        left = math.exp(-2.0 * cooldown_s)
        assert sum(blocks.open_s) / sum(blocks.drained_s) == pytest.approx(left, rel=0.05)


def test_one_request_takes_its_prompt_and_its_tokens() -> None:
    engine = Engine(step_ms=8, sequence_us=80, prefill_tokens_per_s=30_000, batch=256, chunk=8192)
    told = kernel.simulate(engine, requests_of([(1.0, 3000, 11)], 10.0), ONE)
    assert told.first_s[0] == pytest.approx(1.0 + 0.008 + 0.1)
    assert told.done_s[0] == pytest.approx(1.108 + 10 * 0.00808)
    assert list(zip(told.gap_start, told.gap_end, strict=True)) == [
        (0.0, 1.0),
        (pytest.approx(told.done_s[0]), 10.0),
    ]


def test_a_long_prompt_is_taken_in_by_chunks() -> None:
    engine = Engine(step_ms=10, sequence_us=0, prefill_tokens_per_s=1000, chunk=1000)
    told = kernel.simulate(engine, requests_of([(0.0, 2500, 1)], 10.0), ONE)
    assert told.done_s[0] == pytest.approx(3 * 0.010 + 2.5)


def test_a_full_batch_makes_others_wait() -> None:
    told = kernel.simulate(replace(STEADY, batch=1), requests_of([(0.0, 0, 100), (0.0, 0, 100)], 1.0), ONE)
    assert list(told.done_s) == [pytest.approx(0.1), pytest.approx(0.2)]


def test_blocks_add_up_to_the_whole() -> None:
    source = random.Random(5)
    edges = sorted(source.uniform(0, 95) for _ in range(400))
    gaps = outcome((0, start, end) for start, end in zip(edges[::2], edges[1::2], strict=True))
    whole = kernel.harvest(gaps, 95.0, 0.1, 95.0)
    parts = kernel.harvest(gaps, 95.0, 0.1, 10.0)
    assert len(parts.open_s) == 9
    for one, many in ((whole.drained_s, parts.drained_s), (whole.open_s, parts.open_s)):
        assert sum(many) == pytest.approx(sum(one))
    assert sum(parts.preemptions) == sum(whole.preemptions)
    for number in range(8):
        left, right = number * 10.0, number * 10.0 + 10.0
        inside = [(max(a, left), min(b, right)) for a, b in zip(gaps.gap_start, gaps.gap_end, strict=True)]
        assert parts.drained_s[number] == pytest.approx(sum(max(0.0, b - a) for a, b in inside))


def test_a_gap_that_begins_with_the_trace_needs_no_cooldown_and_one_that_ends_with_it_preempts_nobody() -> (
    None
):
    gaps = outcome([(0, 0.0, 3.0), (0, 5.0, 6.0), (0, 6.5, 6.6), (0, 8.0, 10.0)])
    blocks = kernel.harvest(gaps, 10.0, 0.5, 10.0)
    assert blocks.open_s[0] == pytest.approx(3.0 + 0.5 + 1.5)
    assert blocks.preemptions[0] == 2


def test_what_cannot_be_simulated_is_refused() -> None:
    good = requests_of([(1.0, 5, 5), (2.0, 5, 5)], 3.0)
    with pytest.raises(BenchError, match="Invalid argument"):
        kernel.simulate(STEADY, replace(good, at_s=array("d", [2.0, 1.0])), ONE)
    with pytest.raises(BenchError, match="Invalid argument"):
        kernel.simulate(STEADY, replace(good, span_s=1.5), ONE)
    with pytest.raises(BenchError, match="Invalid argument"):
        kernel.simulate(STEADY, good, Fleet(1, [(0, 2)], Rule.ROTATE))
    with pytest.raises(BenchError, match="Invalid argument"):
        kernel.simulate(replace(STEADY, step_ms=0.0), good, ONE)
