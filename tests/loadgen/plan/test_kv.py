"""KV usage: every page that is taken is given back, at the times of the simulation."""

from hypothesis import given
from hypothesis import strategies as st

from valve_loadgen.plan import kernel, kv
from valve_loadgen.plan.engine import Engine
from valve_loadgen.plan.kernel import Fleet, Outcome, Rule
from valve_loadgen.plan.requests import Requests

from .traffic import requests_of

ENGINE = Engine(page_tokens=16, chunk=8192)
ROWS = st.lists(
    st.tuples(st.floats(0, 50), st.integers(1, 500), st.integers(1, 200)), min_size=1, max_size=20
)


def served(rows: list[tuple[float, int, int]], replicas: int = 1) -> tuple[Requests, Outcome]:
    requests = requests_of(sorted(rows), 100.0)
    return requests, kernel.simulate(ENGINE, requests, Fleet(replicas, [(0, replicas)], Rule.ROTATE))


def test_a_request_announces_then_holds_then_grows_page_by_page() -> None:
    requests, outcome = served([(1.0, 30, 40)])
    usage = kv.usages(requests, outcome, ENGINE, 1000)[0]
    announced, taken, *grown, ended = usage.changes
    assert announced == (1.0, 0, 2)
    assert taken[1:] == (2, -2)
    assert [change[1:] for change in grown] == [(1, 0)] * 3  # 30 + 39 tokens are stored: 5 pages
    assert outcome.first_s[0] < grown[0][0] < grown[-1][0] < outcome.done_s[0]
    assert ended == (outcome.done_s[0], -5, 0)
    assert usage.peak == 5
    assert usage.soon_max == 512


def test_long_answers_grow_in_steps() -> None:
    requests, outcome = served([(1.0, 16, 16 * 100 + 1)])
    grown = [more for _, more, _ in kv.usages(requests, outcome, ENGINE, 1000)[0].changes[2:-1]]
    assert len(grown) <= kv.GROWTHS
    assert sum(grown) == 100


@given(ROWS)
def test_nothing_is_held_or_announced_in_the_end_and_never_less_than_nothing(
    rows: list[tuple[float, int, int]],
) -> None:
    requests, outcome = served(rows)
    held = announced = 0
    for _, more, told in kv.usages(requests, outcome, ENGINE, 10_000)[0].changes:
        held, announced = held + more, announced + told
        assert held >= 0
        assert announced >= 0
    assert held == announced == 0


def test_replicas_are_chosen_evenly_within_the_budget() -> None:
    requests, outcome = served([(float(number), 100, 16) for number in range(40)], replicas=4)
    assert set(kv.usages(requests, outcome, ENGINE, 1000)) == {0, 1, 2, 3}
    assert set(kv.usages(requests, outcome, ENGINE, 80)) == {1, 3}


def test_of_a_single_replica_the_first_requests_that_fit_are_taken() -> None:
    requests, outcome = served([(float(number), 100, 16) for number in range(40)])
    usage = kv.usages(requests, outcome, ENGINE, 40)[0]
    assert usage.span_s < 20
    assert len(usage.changes) <= 50
