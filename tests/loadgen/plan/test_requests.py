"""Traffic in columns: cut, thinned, stretched, merged; never reordered by accident."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from valve_loadgen.plan.engine import Engine
from valve_loadgen.plan.requests import Requests, by_arrival, merged

from .traffic import poisson, requests_of

rows = st.lists(st.tuples(st.floats(0, 100), st.integers(0, 9), st.integers(1, 9)), max_size=30).map(
    lambda each: sorted(each, key=lambda row: row[0])
)


def told(requests: Requests) -> list[tuple[float, int, int, str]]:
    names = [requests.deployments[group] for group in requests.group]
    return list(zip(requests.at_s, requests.inputs, requests.outputs, names, strict=True))


@given(rows, rows)
def test_merging_keeps_every_request_and_its_deployment(
    one: list[tuple[float, int, int]], two: list[tuple[float, int, int]]
) -> None:
    both = merged([requests_of(one, 100.0), requests_of(two, 100.0, deployments=1)])
    assert len(both.deployments) == 2
    assert list(both.at_s) == sorted(both.at_s)
    assert sorted(told(both)) == sorted([(*row, "d0") for row in one + two])
    assert both.group.count(1) == len(two)


def test_by_arrival_keeps_the_order_of_ties() -> None:
    requests = by_arrival(requests_of([(2.0, 1, 1), (1.0, 2, 1), (2.0, 3, 1), (1.0, 4, 1)], 3.0))
    assert list(requests.inputs) == [2, 4, 1, 3]


def test_one_deployment_can_be_looked_at_alone() -> None:
    both = requests_of([(1.0, 1, 1), (2.0, 2, 1), (3.0, 3, 1)], 9.0, [0, 1, 1], 2)
    assert told(both.of_deployment(1)) == [(2.0, 2, 1, "d1"), (3.0, 3, 1, "d1")]


def test_until_cuts_the_end_and_the_span() -> None:
    requests = requests_of([(1.0, 1, 1), (2.0, 2, 1), (3.0, 3, 1)], 9.0).until(3.0)
    assert (list(requests.inputs), requests.span_s) == ([1, 2], 3.0)


def test_thinning_keeps_the_clock_and_stretching_the_requests() -> None:
    whole = poisson(10.0, 1000.0, lambda _source: (5, 5))
    thin = whole.thinned(0.3, seed=1)
    assert set(thin.at_s) <= set(whole.at_s)
    assert len(thin) / len(whole) == pytest.approx(0.3, rel=0.1)
    assert told(thin) == told(whole.thinned(0.3, seed=1))
    wide = whole.stretched(2.0)
    assert (wide.span_s, len(wide), wide.at_s[7]) == (2000.0, len(whole), 2 * whole.at_s[7])


def test_the_load_is_rate_over_capacity_by_deployment() -> None:
    engine = Engine(8, 0, prefill_tokens_per_s=1000, batch=8)
    requests = requests_of([(0.0, 1000, 1000), (5.0, 0, 1000), (9.0, 0, 0)], 10.0, [1, 0, 1], 3)
    first, second, third = requests.loads(engine)
    assert first == pytest.approx(0.1 * 1.0)
    assert second == pytest.approx(0.2 * (0.5 + 0.5))
    assert third == 0.0
