"""Owns tables of clients (ServeGen): rate and burstiness by client and window -> drawn requests.

A window's arrivals are a renewal process of the fitted family and shape, at the measured rate, in balance.
Lengths are drawn from the client's quantiles in the table of tokens beside it; the same seed draws the same.
"""

import bisect
import csv
import json
import math
import random
from array import array
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from valve_loadgen.errors import BenchError
from valve_loadgen.plan.requests import Requests, by_arrival

COLUMNS = ["client", "t_s", "rate_rps", "iat_cv", "dist", "shape", "scale"]
WINDOW_S = 600.0
REQUESTS_MAX = 20_000_000
INPUT_PARTS = ("input_tokens", "text_tokens", "image_tokens")

Draw = Callable[[], float]


@dataclass(frozen=True)
class Window:
    """One client's arrivals in [start_s, start_s + WINDOW_S)."""

    start_s: float
    rate_rps: float
    family: str
    """G (gamma) or W (Weibull)."""
    shape: float


def looks_like(text: str) -> bool:
    return text.split("\n", 1)[0].strip().split(",")[: len(COLUMNS)] == COLUMNS


def read(text: str, tokens: str, name: str, keep: float, hours: float | None, seed: int) -> Requests:
    """Requests drawn for every client, each its own deployment, at `keep` times its rate.

    `tokens`: the JSON table of quantiles. Raises BenchError that names file, line and mend.
    """
    windows = _windows(text, name, math.inf if hours is None else hours * 3600)
    expected = sum(window.rate_rps for each in windows.values() for window in each) * WINDOW_S * keep
    if expected > REQUESTS_MAX:
        raise BenchError(
            f"{name}: about {expected / 1e6:.0f} million requests; take fewer with --keep "
            f"{keep * REQUESTS_MAX / expected:.1g} (each client at that share of its rate) or --hours"
        )
    lengths = Lengths.parse(tokens, name)
    drawn = Requests(_span_s(windows), list(windows))
    for number, (client, each) in enumerate(windows.items()):
        _extend(drawn, number, each, lengths, client, keep, random.Random(f"{seed}/{name}/{client}"))
    return by_arrival(drawn)


def _windows(text: str, name: str, until_s: float) -> dict[str, list[Window]]:
    windows: dict[str, list[Window]] = defaultdict(list)
    for line, row in enumerate(csv.reader(text.splitlines()), start=1):
        if line == 1:
            continue
        try:
            client, start_s, rate, _cv, family, shape, _scale = row
            window = Window(float(start_s), float(rate), family, float(shape))
            if family not in ("G", "W") or window.shape <= 0 or window.rate_rps <= 0:
                raise ValueError("dist is G or W, shape and rate_rps are above 0")
        except ValueError as error:
            raise BenchError(f"{name}:{line}: not a row of {','.join(COLUMNS)}: {error}") from error
        if window.start_s < until_s:
            windows[client].append(window)
    if not windows:
        raise BenchError(f"{name}: no client has a window in the hours asked for; take more --hours")
    return dict(windows)


def _span_s(windows: dict[str, list[Window]]) -> float:
    return max(window.start_s for each in windows.values() for window in each) + WINDOW_S


def _extend(
    drawn: Requests,
    number: int,
    windows: Sequence[Window],
    lengths: "Lengths",
    client: str,
    keep: float,
    source: random.Random,
) -> None:
    inputs, outputs = lengths.draws(client, source)
    before = len(drawn)
    for window in windows:
        drawn.at_s.extend(arrivals(window, keep, source))
    count = len(drawn.at_s) - before
    drawn.inputs.extend(array("I", (max(1, round(inputs())) for _ in range(count))))
    drawn.outputs.extend(array("I", (max(1, round(outputs())) for _ in range(count))))
    drawn.group.extend(array("I", [number]) * count)


def arrivals(window: Window, keep: float, source: random.Random) -> Iterator[float]:
    """Times in the window: the first gap is what is left of a length-biased one, as in equilibrium."""
    first, gap = _gaps(window, window.rate_rps * keep, source)
    at_s, end_s = window.start_s + first(), window.start_s + WINDOW_S
    while at_s < end_s:
        yield at_s
        at_s += gap()


def _gaps(window: Window, rate_rps: float, source: random.Random) -> tuple[Draw, Draw]:
    """The rest of the gap in which the window begins, and the gaps after it; mean 1 / rate_rps."""
    shape, gamma, uniform = window.shape, source.gammavariate, source.random
    if window.family == "G":
        scale = 1.0 / rate_rps / shape
        return lambda: uniform() * gamma(shape + 1, scale), lambda: gamma(shape, scale)
    scale = 1.0 / rate_rps / math.gamma(1 + 1 / shape)
    longer = 1 + 1 / shape
    return (
        lambda: uniform() * scale * gamma(longer, 1.0) ** (1 / shape),
        lambda: source.weibullvariate(scale, shape),
    )


@dataclass(frozen=True)
class Lengths:
    """Token quantiles by client; a client without any borrows those of another, drawn by lot."""

    levels: Sequence[float]
    clients: dict[str, dict[str, Any]]

    @classmethod
    def parse(cls, text: str, name: str) -> "Lengths":
        try:
            table = json.loads(text)
            return cls([0.0, *(level / 100 for level in table["quantiles"]), 1.0], table["clients"])
        except (ValueError, KeyError, TypeError) as error:
            raise BenchError(f"{name}: its table of tokens needs quantiles and clients: {error}") from error

    def draws(self, client: str, source: random.Random) -> tuple[Draw, Draw]:
        """Draws prompt and output lengths of `client`."""
        table = self.clients.get(client) or self.clients[source.choice(sorted(self.clients))]
        parts = [self._draw(table[part]["q"], source) for part in INPUT_PARTS if part in table]
        return lambda: sum(part() for part in parts), self._draw(table["output_tokens"]["q"], source)

    def _draw(self, quantiles: Sequence[float], source: random.Random) -> Draw:
        """Inverse transform, linear between the quantiles."""
        levels, values, uniform = self.levels, [quantiles[0], *quantiles, quantiles[-1]], source.random

        def draw() -> float:
            level = uniform()
            above = bisect.bisect_right(levels, level, 1, len(levels) - 1)
            share = (level - levels[above - 1]) / (levels[above] - levels[above - 1])
            return values[above - 1] + share * (values[above] - values[above - 1])

        return draw
