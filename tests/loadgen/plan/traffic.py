"""Traffic for the planner's tests."""

import random
from array import array
from collections.abc import Callable, Sequence

from valve_loadgen.plan.requests import Requests


def requests_of(
    rows: Sequence[tuple[float, int, int]], span_s: float, group: Sequence[int] = (), deployments: int = 1
) -> Requests:
    """Of (at_s, input, output) rows, in order of time."""
    return Requests(
        span_s,
        [f"d{number}" for number in range(deployments)],
        array("d", (row[0] for row in rows)),
        array("I", (row[1] for row in rows)),
        array("I", (row[2] for row in rows)),
        array("I", group or [0] * len(rows)),
    )


def poisson(
    rate_rps: float, span_s: float, length: Callable[[random.Random], tuple[int, int]], seed: int = 1
) -> Requests:
    """Poisson arrivals whose (input, output) tokens are drawn by `length`."""
    source, rows, at_s = random.Random(seed), [], 0.0
    while (at_s := at_s + source.expovariate(rate_rps)) < span_s:
        rows.append((at_s, *length(source)))
    return requests_of(rows, span_s)
