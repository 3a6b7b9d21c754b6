"""Owns the drawing of charts as inline SVG: axes, lines, areas, bars, histograms, bands, rules (pure).

Colours are CSS variables --c0 to --c6 that the page defines (page.py), for light and dark; series differ in
their dashes too.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from html import escape

Point = tuple[float, float]
MARGIN_LEFT, MARGIN_RIGHT, MARGIN_TOP, MARGIN_BOTTOM = 58, 16, 12, 44
LEGEND_HEIGHT = 22
DASHES = ("", "7 4", "2 3", "10 3 2 3", "4 2", "1 4", "12 4")
LEGEND_LINE, LETTER_WIDTH = 24, 6.6
OUTLINE = ' class="ink-edge"'


def plain(value: float) -> str:
    """A tick's text: no trailing zeros, thousands shortened."""
    for size, suffix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:g}{suffix}"
    return f"{value:.6g}"


def percent(value: float) -> str:
    return f"{value * 100:g} %"


@dataclass(frozen=True)
class Axis:
    """One axis: its ends in data units (both above 0 if `log`), its label, how a tick is written."""

    low: float
    high: float
    label: str = ""
    log: bool = False
    write: Callable[[float], str] = plain

    def place(self, value: float) -> float:
        """0 at `low`, 1 at `high`, clipped to just outside of both."""
        low, high = self._bend(self.low), self._bend(self.high)
        share = (self._bend(value) - low) / ((high - low) or 1.0)
        return min(max(share, -0.02), 1.02)

    def ticks(self) -> list[float]:
        return _log_ticks(self.low, self.high) if self.log else _ticks(self.low, self.high)

    def _bend(self, value: float) -> float:
        return math.log10(max(value, 1e-12)) if self.log else value


def _ticks(low: float, high: float, about: int = 5) -> list[float]:
    raw = (high - low) / about or 1.0
    size = 10.0 ** math.floor(math.log10(raw))
    step = next(size * factor for factor in (1, 2, 2.5, 5, 10) if raw <= size * factor * 1.0001)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(number * step, 12) for number in range(first, last + 1)]


def _log_ticks(low: float, high: float) -> list[float]:
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    factors = (1.0,) if len(decades) > 4 else (1.0, 2.0, 5.0)
    every = [factor * 10.0**decade for decade in decades for factor in factors]
    return [tick for tick in every if low * 0.999 <= tick <= high * 1.001]


@dataclass
class Chart:
    """A chart under construction: draw on it, then `svg()`. `title` is read out, not shown.

    `names`: labels of an x axis that counts 0, 1, 2 ... (bars) instead of its ticks.
    """

    title: str
    x: Axis
    y: Axis
    width: int = 560
    height: int = 280
    names: Sequence[str] = ()
    _marks: list[str] = field(default_factory=list, repr=False)
    _legend: list[tuple[int, str, bool]] = field(default_factory=list, repr=False)

    def line(self, points: Iterable[Point], colour: int, label: str = "", dots: bool = False) -> None:
        """A line through `points`, by x."""
        places = [self._at(*point) for point in points]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        self._marks.append(
            f'<polyline points="{path}" fill="none" stroke="var(--c{colour})" stroke-width="2" '
            f'stroke-dasharray="{DASHES[colour]}" stroke-linejoin="round"/>'
        )
        if dots:
            self._marks += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" {_fill(colour)}/>' for x, y in places]
        self._name(colour, label, filled=False)

    def area(self, points: Sequence[Point], colour: int, label: str = "", opacity: float = 0.35) -> None:
        """What lies between `points`, by x, and the axis."""
        if points:
            self.between([(x, self.y.low, y) for x, y in points], colour, label, opacity)

    def between(
        self, rows: Sequence[tuple[float, float, float]], colour: int, label: str = "", opacity: float = 0.25
    ) -> None:
        """The band of (x, low, high) rows: an interval around a line."""
        forth = [self._at(x, high) for x, _low, high in rows]
        back = [self._at(x, low) for x, low, _high in reversed(rows)]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in forth + back)
        self._marks.append(f'<polygon points="{path}" {_fill(colour)} fill-opacity="{opacity}"/>')
        self._name(colour, label, filled=True)

    def bar(
        self,
        left: float,
        right: float,
        top: float,
        colour: int,
        label: str = "",
        bottom: float | None = None,
        opacity: float = 0.85,
        outlined: bool = False,
    ) -> None:
        """A bar over [left, right] in data units, from `bottom` (the axis) to `top`."""
        (x0, y0), (x1, y1) = self._at(left, self.y.low if bottom is None else bottom), self._at(right, top)
        self._marks.append(
            f'<rect x="{x0:.1f}" y="{min(y0, y1):.1f}" width="{max(x1 - x0, 0.5):.1f}" '
            f'height="{abs(y0 - y1):.1f}" {_fill(colour)} fill-opacity="{opacity}"{OUTLINE * outlined}/>'
        )
        self._name(colour, label, filled=True)

    def histogram(
        self, edges: Sequence[float], heights: Sequence[float], colour: int, label: str = ""
    ) -> None:
        """Bars over successive `edges`; one height fewer than edges."""
        for left, right, height in zip(edges, edges[1:], heights, strict=False):
            self.bar(left, right, height, colour, label)

    def whisker(self, x: float, low: float, high: float) -> None:
        """An interval at `x`: a vertical line with ends."""
        (px, y0), (_px, y1) = self._at(x, low), self._at(x, high)
        ends = "".join(f"M{px - 5:.1f} {y:.1f}h10" for y in (y0, y1))
        self._marks.append(f'<path class="ink" d="M{px:.1f} {y0:.1f}V{y1:.1f}{ends}"/>')

    def text(self, x: float, y: float, text: str, anchor: str = "middle", above: float = 6) -> None:
        px, py = self._at(x, y)
        self._marks.append(
            f'<text x="{px:.1f}" y="{py - above:.1f}" text-anchor="{anchor}">{escape(text)}</text>'
        )

    def rule(self, label: str, x: float | None = None, y: float | None = None) -> None:
        """A dashed line across at `x` or `y`, named: a goal, a chosen value."""
        left, top = self._at(self.x.low if x is None else x, self.y.high if y is None else y)
        right, bottom = self._at(self.x.high if x is None else x, self.y.low if y is None else y)
        far = left > MARGIN_LEFT + 0.75 * (self.width - MARGIN_LEFT - MARGIN_RIGHT)
        anchor, shift = ("end", -5) if far else ("start", 5)
        self._marks.append(
            f'<path class="rule" d="M{left:.1f} {top:.1f}L{right:.1f} {bottom:.1f}"/>'
            f'<text class="soft" x="{left + shift:.1f}" y="{top + (12 if y is None else -5):.1f}" '
            f'text-anchor="{anchor}">{escape(label)}</text>'
        )

    def svg(self) -> str:
        """The whole chart as one <svg> element; scales with its container."""
        key, rows = self._key()
        parts = [*self._grid(), *self._marks, *self._labels(), *key]
        height = self.height + LEGEND_HEIGHT * rows
        return (
            f'<svg viewBox="0 0 {self.width} {height}" style="max-width: {self.width}px" role="img" '
            f'aria-label="{escape(self.title)}">'
            f"<title>{escape(self.title)}</title>{''.join(parts)}</svg>"
        )

    def _at(self, x: float, y: float) -> Point:
        inner_width = self.width - MARGIN_LEFT - MARGIN_RIGHT
        inner_height = self.height - MARGIN_TOP - MARGIN_BOTTOM
        return (
            MARGIN_LEFT + self.x.place(x) * inner_width,
            self.height - MARGIN_BOTTOM - self.y.place(y) * inner_height,
        )

    def _name(self, colour: int, label: str, filled: bool) -> None:
        if label and all(label != known for _colour, known, _filled in self._legend):
            self._legend.append((colour, label, filled))

    def _grid(self) -> list[str]:
        left, right = MARGIN_LEFT, self.width - MARGIN_RIGHT
        grid = []
        for tick in self.y.ticks():
            y = self._at(self.x.low, tick)[1]
            grid.append(f'<path class="grid" d="M{left} {y:.1f}H{right}"/>')
            text = escape(self.y.write(tick))
            grid.append(f'<text class="soft" x="{left - 7}" y="{y + 4:.1f}" text-anchor="end">{text}</text>')
        for place, name in self._x_ticks():
            x = self._at(place, self.y.low)[0]
            y = self.height - MARGIN_BOTTOM
            grid.append(f'<path class="axis" d="M{x:.1f} {y}v4"/>' if not self.names else "")
            grid.append(
                f'<text class="soft" x="{x:.1f}" y="{y + 17}" text-anchor="middle">{escape(name)}</text>'
            )
        return grid

    def _x_ticks(self) -> list[tuple[float, str]]:
        if self.names:
            return [(float(index), name) for index, name in enumerate(self.names)]
        return [(tick, self.x.write(tick)) for tick in self.x.ticks()]

    def _labels(self) -> list[str]:
        bottom, middle = self.height - MARGIN_BOTTOM, (MARGIN_TOP + self.height - MARGIN_BOTTOM) / 2
        return [
            f'<path class="axis" d="M{MARGIN_LEFT} {bottom}H{self.width - MARGIN_RIGHT}"/>',
            f'<text x="{(MARGIN_LEFT + self.width - MARGIN_RIGHT) / 2}" y="{bottom + 36}" '
            f'text-anchor="middle">{escape(self.x.label)}</text>',
            f'<text transform="translate(13 {middle}) rotate(-90)" '
            f'text-anchor="middle">{escape(self.y.label)}</text>',
        ]

    def _key(self) -> tuple[list[str], int]:
        """The legend and its rows."""
        key, x, row = [], float(MARGIN_LEFT), 0
        for colour, label, filled in self._legend:
            width = LEGEND_LINE + LETTER_WIDTH * len(label)
            if x > MARGIN_LEFT and x + width > self.width:
                x, row = float(MARGIN_LEFT), row + 1
            y = self.height + 12 + row * LEGEND_HEIGHT
            key.append(
                f'<rect x="{x:.1f}" y="{y - 9}" width="12" height="10" {_fill(colour)} fill-opacity="0.7"/>'
                if filled
                else f'<path d="M{x:.1f} {y - 4}h18" stroke="var(--c{colour})" stroke-width="2.5" '
                f'stroke-dasharray="{DASHES[colour]}"/>'
            )
            key.append(f'<text x="{x + LEGEND_LINE:.1f}" y="{y}">{escape(label)}</text>')
            x += width + 18
        return key, row + 1 if self._legend else 0


def _fill(colour: int) -> str:
    return f'fill="var(--c{colour})"'
