"""Charts: ticks fall on round numbers, marks where the data say, the result is well-formed XML."""

import math
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from valve_loadgen.svg import MARGIN_BOTTOM, MARGIN_LEFT, MARGIN_RIGHT, MARGIN_TOP, Axis, Chart, percent


def drawn(chart: Chart) -> ElementTree.Element:
    return ElementTree.fromstring(chart.svg())


def square() -> Chart:
    """100 x 100 units inside its margins."""
    width, height = 100 + MARGIN_LEFT + MARGIN_RIGHT, 100 + MARGIN_TOP + MARGIN_BOTTOM
    return Chart("t", Axis(0, 10), Axis(0, 1), width, height)


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [(0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1]), (0, 14, [0, 5, 10]), (-3, 3, [-2, 0, 2]), (5, 5, [5])],
)
def test_ticks_are_round(low: float, high: float, ticks: list[float]) -> None:
    assert Axis(low, high).ticks() == ticks


def test_logarithmic_ticks_are_one_two_five() -> None:
    assert Axis(1, 50, log=True).ticks() == [1, 2, 5, 10, 20, 50]
    assert Axis(0.001, 1000, log=True).ticks() == [10.0**exponent for exponent in range(-3, 4)]


@given(st.floats(-1e6, 1e6), st.floats(1e-3, 1e6))
def test_ticks_lie_on_the_axis_and_are_few(low: float, span: float) -> None:
    ticks = Axis(low, low + span).ticks()
    assert 1 <= len(ticks) <= 12
    assert all(low - span * 1e-6 - 1e-9 <= tick <= low + span * (1 + 1e-6) + 1e-9 for tick in ticks)


def test_a_line_goes_through_its_points() -> None:
    chart = square()
    chart.line([(0, 0), (5, 0.5), (10, 1)], 0)
    points = drawn(chart).find("polyline")
    left, bottom = MARGIN_LEFT, MARGIN_TOP + 100
    assert points is not None
    assert (
        points.get("points")
        == f"{left}.0,{bottom}.0 {left + 50}.0,{bottom - 50}.0 {left + 100}.0,{MARGIN_TOP}.0"
    )


def test_a_bar_has_the_height_of_its_value() -> None:
    chart = square()
    chart.bar(2, 4, 0.25, 1)
    rect = drawn(chart).find("rect")
    assert rect is not None
    assert (rect.get("x"), rect.get("width"), rect.get("height")) == (f"{MARGIN_LEFT + 20}.0", "20.0", "25.0")


def test_what_lies_outside_stays_near_the_edge() -> None:
    assert Axis(0, 1).place(50) == 1.02
    assert Axis(1, 100, log=True).place(0) == -0.02
    assert math.isclose(Axis(1, 100, log=True).place(10), 0.5)


def test_texts_are_escaped_and_a_label_is_named_once() -> None:
    chart = square()
    chart.histogram([0, 1, 2], [0.1, 0.2], 2, "a < b")
    chart.rule("50 % & more", y=0.5)
    chart.whisker(1, 0.1, 0.2)
    chart.between([(0, 0.1, 0.2), (1, 0.2, 0.3)], 0)
    chart.area([(0, 0.1), (1, 0.4)], 3)
    chart.text(1, 0.3, "<here>")
    texts = [text.text for text in drawn(chart).iter("text")]
    assert texts.count("a < b") == 1
    assert "50 % & more" in texts
    assert "<here>" in texts


def test_names_stand_for_ticks() -> None:
    chart = Chart("t", Axis(-0.5, 1.5), Axis(0, 1, write=percent), names=("first", "second"))
    texts = [text.text for text in drawn(chart).iter("text")]
    assert {"first", "second", "20 %"} <= set(texts)
