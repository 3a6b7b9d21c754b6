"""The pool table's words: what two looks at them tell."""

from array import array

from hypothesis import given
from hypothesis import strategies as st

from valve_adapters.blocks.words import BACKED, Change, backed, change

WORDS = st.lists(st.integers(0, 7), min_size=1, max_size=3000)


def raw(*words: int) -> bytes:
    return array("I", words).tobytes()


def test_nothing_has_changed() -> None:
    assert change(raw(1, 1, 0), raw(1, 1, 0)) == Change(frozenset(), frozenset(), frozenset())


def test_lost_and_backed_again_between_two_looks_is_lost() -> None:
    assert change(raw(1, 1), raw(1, 3)) == Change(frozenset({1}), frozenset(), frozenset())


def test_withdrawn_is_not_lost_yet() -> None:
    assert change(raw(1, 1), raw(0, 2)) == Change(frozenset({1}), frozenset({0, 1}), frozenset())
    assert change(raw(2), raw(3)) == Change(frozenset(), frozenset(), frozenset({0}))


def test_a_count_that_wraps_is_another_count() -> None:
    assert change(raw(0xFFFFFFFF), raw(1)).lost == {0}


@given(WORDS, st.data())
def test_change_is_that_of_each_word_alone(before: list[int], data: st.DataObject) -> None:
    after = data.draw(st.lists(st.integers(0, 7), min_size=len(before), max_size=len(before)))
    found = change(raw(*before), raw(*after))
    for page, (old, new) in enumerate(zip(before, after, strict=True)):
        assert (page in found.lost) == (old >> 1 != new >> 1)
        assert (page in found.unbacked) == (old & BACKED > new & BACKED)
        assert (page in found.backed) == (old & BACKED < new & BACKED)
    assert (backed(raw(*before)) | found.backed) - found.unbacked == backed(raw(*after))
