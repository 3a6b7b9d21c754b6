"""What a long run's windows are judged by."""

import pytest

from valve_loadgen.endurance import Window, judge

GOOD = [Window(1000, 0, 1.0, 50_000, 40)] * 10


def test_flat_is_fine() -> None:
    assert judge(GOOD) == []
    assert judge(GOOD[:1]) == []


@pytest.mark.parametrize(
    ("later", "word"),
    [
        (Window(1000, 1, 1.0, 50_000, 40), "failed"),
        (Window(1000, 0, 1.0, 60_000, 40), "memory"),
        (Window(1000, 0, 3.0, 50_000, 40), "p99"),
        (Window(1000, 0, 1.0, 50_000, 60), "descriptors"),
    ],
)
def test_what_is_worse_at_the_end(later: Window, word: str) -> None:
    (problem, *_) = judge([*GOOD[:5], *[later] * 5])
    assert word in problem


def test_what_fills_up_at_the_beginning_is_no_leak() -> None:
    assert judge([Window(1000, 0, 1.0, 20_000, 40), *GOOD]) == []
