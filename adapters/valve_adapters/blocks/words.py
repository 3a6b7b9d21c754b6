"""What the pool table's words mean: how a change of them reads in pages. No I/O."""

from __future__ import annotations

from array import array
from dataclasses import dataclass

WORD_BYTES = 4
BACKED = 1  # bit 0; the others count how often the page was lost
COMPARED_AT_ONCE = 4096  # bytes; nearly all of a table is equal, and that is seen quickly


@dataclass(frozen=True, slots=True)
class Change:
    """Pages between two looks. A page that was lost may be backed again by now."""

    lost: frozenset[int]
    unbacked: frozenset[int]
    backed: frozenset[int]


def change(before: bytes, after: bytes) -> Change:
    """What `after` tells that `before` did not. Both are the words of all pages, as in the table."""
    pairs = [(page, old, new) for page, old, new in _differing(before, after) if old != new]
    return Change(
        lost=frozenset(page for page, old, new in pairs if old >> 1 != new >> 1),
        unbacked=frozenset(page for page, old, new in pairs if old & BACKED and not new & BACKED),
        backed=frozenset(page for page, old, new in pairs if new & BACKED and not old & BACKED),
    )


def backed(words: bytes) -> frozenset[int]:
    """The pages that are backed."""
    return frozenset(page for page, word in enumerate(array("I", words)) if word & BACKED)


def _differing(before: bytes, after: bytes) -> list[tuple[int, int, int]]:
    """(page, old, new) of every page near one that differs."""
    found = []
    for start in range(0, len(after), COMPARED_AT_ONCE):
        part = slice(start, start + COMPARED_AT_ONCE)
        old, new = before[part], after[part]
        if old != new:
            pages = range(start // WORD_BYTES, (start + len(new)) // WORD_BYTES)
            found += list(zip(pages, array("I", old), array("I", new), strict=True))
    return found
