"""What a lost block spoils, and what a page would cost."""

from hypothesis import example, given
from hypothesis import strategies as st

from valve_adapters.blocks.layout import Layout, Strip
from valve_adapters.blocks.recovery import costs, pages_for, spoilt

LAYOUT = Layout(64, 8, 16, (Strip(0, 32),))  # two blocks on a page
CHAINS = st.lists(st.lists(st.integers(0, 30), max_size=8, unique=True), max_size=6)


def test_what_comes_after_a_lost_block_is_spoilt() -> None:
    assert spoilt({2}, [[1, 2, 3], [4, 5]], 0) == {2, 3}


def test_a_shared_block_spoils_what_each_owner_has_after_it() -> None:
    assert spoilt({1}, [[1, 2, 3], [1, 2, 4], [5]], 0) == {1, 2, 3, 4}


def test_a_spoilt_block_spoils_those_who_share_only_it() -> None:
    """Blocks with equal contents are not merged: the second owner found another first block."""
    assert spoilt({1}, [[1, 2], [7, 2, 8], [9, 8]], 0) == {1, 2, 8}


def test_an_earlier_block_that_turns_out_spoilt_counts_from_there() -> None:
    assert spoilt({3, 5}, [[1, 2, 3], [5, 1]], 0) == {1, 2, 3, 5}


def test_the_null_block_is_nobodys() -> None:
    assert spoilt({0, 2}, [[0, 0, 2, 3], [0, 4]], 0) == {2, 3}


@given(st.sets(st.integers(1, 30), max_size=5), CHAINS)
@example({1}, [[1, 0], [0, 2]])
def test_spoilt_is_the_least_set_that_is_closed(lost: set[int], chains: list[list[int]]) -> None:
    found = spoilt(lost, chains, 0)
    assert lost <= found
    for chain in chains:
        hit = [index for index, block in enumerate(chain) if block in found]
        assert not hit or set(chain[hit[0] :]) - {0} <= found
    for block in found - lost:
        rest = found - {block}
        assert any(block in chain and not rest.isdisjoint(chain[: chain.index(block)]) for chain in chains)


def test_losing_a_page_costs_what_comes_from_its_first_block_on() -> None:
    assert list(costs(LAYOUT.pages_of, LAYOUT.pages, [([0, 1, 2, 3], 40)], resumes=True)) == [
        40,
        20,
        0,
        0,
        0,
        0,
        0,
        0,
    ]
    assert list(costs(LAYOUT.pages_of, LAYOUT.pages, [([0, 1, 2, 3], 40)], resumes=False)) == [
        40,
        40,
        0,
        0,
        0,
        0,
        0,
        0,
    ]


def test_a_shared_page_costs_all_its_owners() -> None:
    assert list(costs(LAYOUT.pages_of, LAYOUT.pages, [([0, 2], 32), ([1], 5)], resumes=True))[:2] == [37, 16]


def test_what_is_in_use_costs_something_though_nothing_is_computed() -> None:
    assert list(costs(LAYOUT.pages_of, LAYOUT.pages, [([4], 0)], resumes=True))[2] == 1


def test_pages_for_blocks_are_at_least_enough() -> None:
    assert [pages_for(LAYOUT, blocks) for blocks in (0, 1, 2, 3, 1000)] == [0, 1, 1, 2, 8]
