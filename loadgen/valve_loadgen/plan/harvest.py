"""Owns what idle gaps are worth under release-on-drain: fractions, preemptions, intervals (pure)."""

import math
from bisect import bisect_right
from dataclasses import dataclass, field

from valve_loadgen import stats
from valve_loadgen.plan import kernel
from valve_loadgen.plan.kernel import Blocks, Outcome
from valve_loadgen.stats import Estimate

SWEEP_S = (0.0, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0)
BLOCKS_S = (86_400.0, 3600.0, 600.0, 300.0, 60.0, 10.0)
TIMELINE = 120
GAP_EDGES_S = [10 ** (power / 3) for power in range(-6, 16)]
"""10 ms to 100,000 s, three a decade."""


@dataclass(frozen=True)
class Swept:
    """What one cool-down yields."""

    cooldown_s: float
    harvest_fraction: float
    preemptions: int


@dataclass(frozen=True)
class Latency:
    """Of the online requests; None where there are too few to say."""

    ttft_p50_ms: float
    ttft_p99_ms: float | None
    tpot_ms: float | None
    """Mean over all tokens after the first."""


@dataclass(frozen=True)
class Harvest:
    """One routing's yield. Fractions are of the replicas' observed time."""

    drained_fraction: float
    harvest: Estimate
    """Of replica time in which the gate is open, times `offline_speed`."""
    preemptions: int
    requests: int | None
    in_flight: float
    """Requests in flight by replica, mean over time."""
    block_s: float
    sweep: list[Swept]
    timeline: list[tuple[float, float]]
    """(seconds since the start, harvested fraction) by slice of time."""
    outcome: Outcome = field(repr=False)
    replicas: int
    replica_s: float
    """Observed time of one replica."""
    latency: Latency | None = None
    """None where no engine was simulated."""

    @property
    def harvest_fraction(self) -> float:
        return self.harvest.value or 0.0

    @property
    def preemptions_per_request(self) -> float | None:
        return self.preemptions / self.requests if self.requests else None

    @property
    def unused(self) -> int:
        """Replicas that served nothing."""
        return sum(count == 0 for count in self.outcome.served)

    @property
    def gap_share(self) -> list[float]:
        """Drained time by length of the gap, between GAP_EDGES_S."""
        return _gap_share(self.outcome)

    @property
    def replica_share(self) -> list[float]:
        """Drained fraction by replica."""
        return [each / self.replica_s for each in _drained_s(self.outcome, self.replicas)]

    @property
    def by_chance(self) -> float:
        """e^-N: how much would drain if requests arrived like Poisson's (M/G/infinity)."""
        return math.exp(-self.in_flight)


@dataclass(frozen=True)
class Scope:
    """What the sums of a harvest are taken over."""

    replicas: int
    span_s: float
    replica_s: float
    cooldown_s: float
    offline_speed: float = 1.0

    @property
    def share(self) -> float:
        """Of its time, how much of a replica was observed."""
        return self.replica_s / (self.span_s * self.replicas)


def block_s(span_s: float) -> float:
    """The longest of BLOCKS_S of which the span holds enough to resample."""
    return next((size for size in BLOCKS_S if span_s / size >= stats.BLOCKS_MIN), span_s / stats.BLOCKS_MIN)


def measure(
    outcome: Outcome, scope: Scope, requests: int | None, in_flight: float, latency: Latency | None = None
) -> Harvest:
    """Sums over the gaps of `outcome`."""
    size_s = block_s(scope.span_s)
    blocks = kernel.harvest(outcome, scope.span_s, scope.cooldown_s, size_s)
    return Harvest(
        sum(blocks.drained_s) / scope.replica_s,
        _interval(blocks, scope),
        sum(blocks.preemptions),
        requests,
        in_flight,
        size_s,
        [_swept(outcome, scope, cooldown_s) for cooldown_s in sorted({*SWEEP_S, scope.cooldown_s})],
        _timeline(outcome, scope),
        outcome,
        scope.replicas,
        scope.span_s * scope.share,
        latency,
    )


def _lengths_s(blocks: Blocks, span_s: float) -> list[float]:
    """Of each block; the last takes what is left."""
    count = len(blocks.open_s)
    return [blocks.block_s] * (count - 1) + [span_s - blocks.block_s * (count - 1)]


def _interval(blocks: Blocks, scope: Scope) -> Estimate:
    """The harvested fraction, whole blocks of time drawn with replacement."""
    weight = scope.replicas * scope.share
    parts = [
        (open_s * scope.offline_speed, length_s * weight)
        for open_s, length_s in zip(blocks.open_s, _lengths_s(blocks, scope.span_s), strict=True)
    ]
    return stats.ratio_of_sums(parts)


def _swept(outcome: Outcome, scope: Scope, cooldown_s: float) -> Swept:
    whole = kernel.harvest(outcome, scope.span_s, cooldown_s, scope.span_s)
    open_fraction = sum(whole.open_s) / scope.replica_s
    return Swept(cooldown_s, open_fraction * scope.offline_speed, sum(whole.preemptions))


def _timeline(outcome: Outcome, scope: Scope) -> list[tuple[float, float]]:
    size_s = scope.span_s / TIMELINE
    slices = kernel.harvest(outcome, scope.span_s, scope.cooldown_s, size_s)
    weight = scope.offline_speed / (size_s * scope.replicas * scope.share)
    return [((index + 0.5) * size_s, min(1.0, open_s * weight)) for index, open_s in enumerate(slices.open_s)]


def _gap_share(outcome: Outcome) -> list[float]:
    sums = [0.0] * (len(GAP_EDGES_S) + 1)
    for start_s, end_s in zip(outcome.gap_start, outcome.gap_end, strict=True):
        sums[bisect_right(GAP_EDGES_S, end_s - start_s)] += end_s - start_s
    inner = [sums[0] + sums[1], *sums[2:-2], sums[-2] + sums[-1]]
    whole = sum(inner) or 1.0
    return [share / whole for share in inner]


def _drained_s(outcome: Outcome, replicas: int) -> list[float]:
    sums = [0.0] * replicas
    for replica, start_s, end_s in zip(outcome.gap_replica, outcome.gap_start, outcome.gap_end, strict=True):
        sums[replica] += end_s - start_s
    return sums
