"""What a lost block costs: which requests must be computed anew, what must be forgotten, what each page would
cost. No I/O.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Sequence

from .layout import Layout
from .table import MOST


def spoilt(lost: Iterable[int], chains: Sequence[Sequence[int]], null: int) -> set[int]:
    """The lost blocks and all that may derive from them. A chain is one request's blocks in the order of its
    tokens; what comes after a lost block may have been computed from it by the step that was under way, and
    may be shared with others by now. `null` is the block that stands for none and is nobody's.
    """
    found = set(lost) - {null}
    while True:
        before = len(found)
        for blocks in chains:
            found.update(block for block in _after_first(blocks, found) if block != null)
        if len(found) == before:
            return found


def costs(
    pages_of: Callable[[int], Iterable[int]],
    pages: int,
    requests: Iterable[tuple[Sequence[int], int]],
    resumes: bool,
) -> array[int]:
    """By page, the tokens to compute anew if it were lost. Of each request its blocks in order and its tokens
    that are computed. `resumes`: it starts again from the first block that it lost, else from its beginning.
    """
    total = [0] * pages
    for blocks, tokens in requests:
        counted: set[int] = set()
        for index, block in enumerate(blocks):
            kept = tokens * index // len(blocks) if resumes else 0
            for page in pages_of(block):
                if page not in counted:
                    counted.add(page)
                    total[page] += max(1, tokens - kept)
    return array("I", total if max(total) <= MOST else [min(cost, MOST) for cost in total])


def pages_for(layout: Layout, blocks: int) -> int:
    """Pages that so many blocks take at least."""
    block_bytes = sum(strip.bytes for strip in layout.strips)
    return min(-(-blocks * block_bytes // layout.page_bytes), layout.pages)


def _after_first(blocks: Sequence[int], found: set[int]) -> Iterable[int]:
    """From the first of `blocks` that is in `found` on."""
    if found.isdisjoint(blocks):
        return ()
    first = next(index for index, block in enumerate(blocks) if block in found)
    return blocks[first:]
