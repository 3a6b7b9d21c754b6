"""Owns the arithmetic: exact percentiles, paired bootstrap intervals, drained time, verdicts (pure)."""

import math
import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean, median
from typing import Any, Literal, TypeVar

P99_SAMPLES = 1000
RESAMPLES = 2000
EXACT_BINOMIAL_MAX = 1000  # above, the normal approximation of the ranks
BLOCKS_MIN = 8

Verdict = Literal["met", "missed", "inconclusive"]
Pair = tuple[float, float]
Unit = TypeVar("Unit")


def percentile(values: Sequence[float], q: float) -> float:
    """The q-quantile (0..1) of the raw samples, linear between ranks. Raises ValueError when empty."""
    if not values:
        raise ValueError("no samples")
    ordered = sorted(values)
    position = q * (len(ordered) - 1)
    low = int(position)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (position - low)


def summary(
    values: Sequence[float], quantiles: Sequence[float] = (0.5, 0.9, 0.99), p99_samples: int = P99_SAMPLES
) -> dict[str, float | int | None]:
    """{"p50": ..., "p90": ..., "p99": ..., "n": ...}; None where there are too few samples to say."""
    result: dict[str, float | int | None] = {}
    for q in quantiles:
        enough = len(values) >= (p99_samples if q >= 0.99 else 1)
        result[f"p{round(q * 100)}"] = percentile(values, q) if enough else None
    return {**result, "n": len(values)}


def quantiles(values: Sequence[float]) -> dict[str, Any]:
    """{"p50", "p90", "p99", "max", "n", "p50_ci95"}, and "reason" where one is None for lack of samples.

    p99 needs P99_SAMPLES. The interval is that of the order statistics: exact whatever the distribution, for
    independent samples.
    """
    told: dict[str, Any] = {"p50": None, "p90": None, "p99": None}
    if values:
        told = summary(values)
    told |= {"max": max(values, default=None), "n": len(values), "p50_ci95": median_interval(values)}
    if told["p99"] is None:
        told["reason"] = f"p99 needs {P99_SAMPLES} samples, has {len(values)}"
    return told


def median_interval(values: Sequence[float]) -> list[float] | None:
    """The 95 % interval of the median by binomial order statistics; None under 6 samples.

    Ranks k and n - 1 - k (from 0), k the largest with P(Binomial(n, 1/2) <= k) <= 2.5 %.
    """
    n, ordered = len(values), sorted(values)
    if n < 6:
        return None
    if n > EXACT_BINOMIAL_MAX:
        k = math.floor(n / 2 - 1.96 * math.sqrt(n) / 2) - 1
        return [ordered[k], ordered[n - 1 - k]]
    below, k = 0, -1
    while (below + math.comb(n, k + 1)) * 40 <= 1 << n:
        k += 1
        below += math.comb(n, k)
    return [ordered[k], ordered[n - 1 - k]]


@dataclass(frozen=True)
class Estimate:
    """A figure with its 95 % interval; `low` and `high` are None when there is too little to resample."""

    value: float | None
    low: float | None = None
    high: float | None = None

    @property
    def ci95(self) -> list[float] | None:
        return None if self.low is None or self.high is None else [self.low, self.high]

    def below(self, goal: float) -> Verdict:
        """Whether the figure is under `goal`; inconclusive when its interval straddles it or is missing."""
        if self.low is None or self.high is None:
            return "inconclusive"
        if self.high < goal:
            return "met"
        return "missed" if self.low >= goal else "inconclusive"

    def above(self, goal: float) -> Verdict:
        """Whether the figure is over `goal`."""
        if self.low is None or self.high is None:
            return "inconclusive"
        if self.low > goal:
            return "met"
        return "missed" if self.high <= goal else "inconclusive"


def ratio_of_medians(blocks: Sequence[Sequence[Pair]], seed: int = 0) -> Estimate:
    """median(treated) / median(control) over (control, treated) pairs, with a paired bootstrap interval.

    A block is a round. With BLOCKS_MIN rounds or more whole rounds are drawn, so that what varies from round
    to round is in the interval; with fewer, single pairs.
    """

    def ratio(sample: Sequence[Sequence[Pair]]) -> float:
        pairs = [pair for block in sample for pair in block]
        return median(pair[1] for pair in pairs) / median(pair[0] for pair in pairs)

    return bootstrap(_units(blocks), ratio, seed)


def difference_of_quantiles(
    blocks: Sequence[tuple[list[float], list[float]]], q: float, seed: int = 0
) -> Estimate:
    """quantile(treated) - quantile(control) over blocks of (control, treated) samples; blocks are drawn."""

    def difference(sample: Sequence[tuple[list[float], list[float]]]) -> float:
        control = [value for block in sample for value in block[0]]
        treated = [value for block in sample for value in block[1]]
        return percentile(treated, q) - percentile(control, q)

    return bootstrap(blocks, difference, seed)


def ratio_of_sums(parts: Sequence[Pair], seed: int = 0) -> Estimate:
    """sum of numerators / sum of denominators over (numerator, denominator) parts, parts drawn."""
    if sum(part[1] for part in parts) <= 0:
        return Estimate(None)

    def ratio(sample: Sequence[Pair]) -> float:
        below = sum(part[1] for part in sample)
        return sum(part[0] for part in sample) / below if below else 0.0

    return bootstrap(parts, ratio, seed)


def bootstrap(units: Sequence[Unit], figure: Callable[[Sequence[Unit]], float], seed: int) -> Estimate:
    """`figure` of `units`, with the percentile interval over RESAMPLES draws with replacement."""
    if not units:
        return Estimate(None)
    value = figure(units)
    if len(units) < 3:
        return Estimate(value)
    draw = random.Random(seed)
    values = [figure(draw.choices(units, k=len(units))) for _ in range(RESAMPLES)]
    return Estimate(value, percentile(values, 0.025), percentile(values, 0.975))


def _units(blocks: Sequence[Sequence[Pair]]) -> list[Sequence[Pair]]:
    filled = [block for block in blocks if block]
    return filled if len(filled) >= BLOCKS_MIN else [[pair] for block in filled for pair in block]


def drained_ns(busy: Iterable[tuple[int, int]], start_ns: int, end_ns: int) -> int:
    """How much of [start_ns, end_ns) lies in none of the `busy` intervals."""
    drained, free_from = 0, start_ns
    for begin, end in sorted(busy):
        if begin > free_from:
            drained += min(begin, end_ns) - free_from
        free_from = min(max(free_from, end), end_ns)
        if free_from >= end_ns:
            break
    return drained + end_ns - free_from


def mean(values: Sequence[float]) -> float | None:
    return fmean(values) if values else None
