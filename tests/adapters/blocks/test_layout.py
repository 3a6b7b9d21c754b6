"""Pages and blocks: smaller, larger, across a border, in one strip and in one for each layer."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from valve_adapters.blocks.errors import LayoutError
from valve_adapters.blocks.layout import Layout, Strip, strips

PAGE = 64


def one_strip(block_bytes: int, blocks: int) -> Layout:
    return Layout(PAGE, -(-block_bytes * blocks // PAGE), blocks, (Strip(0, block_bytes),))


def test_a_block_is_a_page() -> None:
    layout = one_strip(PAGE, 4)
    assert [layout.pages_of(block) for block in range(4)] == [[0], [1], [2], [3]]


def test_several_blocks_on_a_page_and_one_across_two() -> None:
    layout = one_strip(24, 8)
    assert layout.blocks_of(0) == [0, 1, 2]
    assert layout.pages_of(2) == [0, 1]


def test_a_block_on_several_pages() -> None:
    layout = one_strip(160, 4)
    assert layout.pages_of(1) == [2, 3, 4]
    assert layout.blocks_of(2) == [0, 1]


def test_layer_outermost_has_a_strip_for_each_layer() -> None:
    parts = [(0, 4 * 32, 32, 3)]
    layout = Layout(PAGE, 6, 4, strips(parts, 4))
    assert layout.strips == (Strip(0, 32), Strip(128, 32), Strip(256, 32))
    assert layout.pages_of(0) == [0, 2, 4]
    assert layout.blocks_of(3) == [2, 3]


def test_block_outermost_is_one_strip() -> None:
    assert strips([(0, 32, 96, 3)], 4) == (Strip(0, 96),)
    assert strips([(0, 16, 96, 3), (48, 24, 96, 2)], 4) == (Strip(0, 96),)


def test_heads_that_lie_apart_are_refused() -> None:
    with pytest.raises(LayoutError, match="heads lie apart"):
        strips([(0, 2 * 4 * 32, 32, 3)], 4)


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(LayoutError, match="96 bytes does not fit the pool of 64 bytes"):
        Layout(PAGE, 1, 3, (Strip(0, 32),))
    with pytest.raises(LayoutError, match="overlap"):
        Layout(PAGE, 8, 4, (Strip(0, 32), Strip(64, 32)))


def test_behind_the_kv_memory_there_are_no_blocks() -> None:
    assert Layout(PAGE, 8, 4, (Strip(0, 32),)).blocks_of(5) == []


@given(st.integers(1, 300), st.integers(1, 40), st.integers(1, 4), st.integers(0, 200))
def test_block_and_page_agree_and_every_byte_counts(
    block_bytes: int, blocks: int, layers: int, gap: int
) -> None:
    size = block_bytes * blocks
    layout = Layout(
        PAGE, 250 * layers, blocks, tuple(Strip(layer * (size + gap), block_bytes) for layer in range(layers))
    )
    for block in range(blocks):
        starts = [strip.offset + block * block_bytes for strip in layout.strips]
        touched = {at // PAGE for start in starts for at in range(start, start + block_bytes)}
        assert layout.pages_of(block) == sorted(touched)
        assert all(block in layout.blocks_of(page) for page in touched)
    for page in range(layout.pages):
        assert all(page in layout.pages_of(block) for block in layout.blocks_of(page))
