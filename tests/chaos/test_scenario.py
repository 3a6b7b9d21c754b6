"""The list of faults: from the seed alone, and all of the matrix."""

import pytest

from .scenario import CASTS, GATE, KINDS, LOST, STATES, TWICE, Step, matrix, plan


@pytest.mark.parametrize("cast", CASTS)
def test_a_seed_says_it_all(cast: str) -> None:
    assert plan(cast, 7, 100) == plan(cast, 7, 100)
    assert plan(cast, 7, 100) != plan(cast, 8, 100)


@pytest.mark.parametrize("cast", CASTS)
def test_every_cell_comes_up_before_any_does_again(cast: str) -> None:
    cells = matrix(cast)
    steps = plan(cast, 1, 2 * len(cells))
    assert sorted((step.kinds[0], step.state) for step in steps) == sorted(cells)


def test_all_casts_together_have_every_kind_and_state() -> None:
    cells = {cell for cast in CASTS for cell in matrix(cast)}
    assert {kind for kind, _ in cells} == set(KINDS)
    assert {state for _, state in cells} == set(STATES)
    assert len(KINDS) >= 20


def test_what_takes_seconds_can_be_left_out() -> None:
    assert not any(STATES[step.state].slow for step in plan("aiohttp", 1, 1000, slow=False))


def test_what_two_faults_may_do_they_may_do_together() -> None:
    step = Step(0, "closed", ("stop_run", "kill_engine"), 0.0, 0.0)
    assert step.effects == {GATE, TWICE, LOST}
