"""The list of faults: from the seed alone, and all of the matrix."""

import pytest

from .scenario import CASTS, KINDS, STATES, matrix, plan


@pytest.mark.parametrize("cast", CASTS)
def test_a_seed_says_it_all(cast: str) -> None:
    assert plan(cast, 7, 100) == plan(cast, 7, 100)
    assert plan(cast, 7, 100) != plan(cast, 8, 100)


@pytest.mark.parametrize("cast", CASTS)
def test_every_cell_comes_up_before_any_does_again(cast: str) -> None:
    cells = matrix(cast)
    faults = plan(cast, 1, len(cells))
    assert sorted((fault.kind, fault.state) for fault in faults) == sorted(cells)


def test_all_casts_together_have_every_kind_and_state() -> None:
    cells = {cell for cast in CASTS for cell in matrix(cast)}
    assert {kind for kind, _ in cells} == set(KINDS)
    assert {state for _, state in cells} == set(STATES)
    assert len(KINDS) >= 20


def test_what_takes_seconds_can_be_left_out() -> None:
    assert not any(STATES[fault.state].slow for fault in plan("aiohttp", 1, 1000, slow=False))
