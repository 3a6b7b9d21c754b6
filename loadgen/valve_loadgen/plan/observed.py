"""Owns what monitoring saw of real replicas: their idle gaps, without any simulation (pure)."""

from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from valve_loadgen.plan.kernel import Outcome

Interval = tuple[float, float]


@dataclass(frozen=True)
class Observed:
    """Idle gaps of real replicas over [0, span_s)."""

    gaps: Outcome
    names: Sequence[str]
    span_s: float
    replica_s: float
    """Observed time, summed over replicas; less than all of it where samples are missing."""
    in_flight_s: float
    """Requests in flight, summed over time and replicas."""
    requests: int | None = None
    packed_fraction: float | None = None
    """Share of the fleet that would idle if requests were packed on the first replicas; at most."""
    sampled_s: float | None = None
    """How far samples lie apart: shorter gaps are not seen."""


def outcome(gaps: Iterable[tuple[int, float, float]]) -> Outcome:
    """Gaps as (replica, start_s, end_s), in the form of a simulation's."""
    out = Outcome(array("d"), array("d"), array("I"), array("Q"), array("d"), array("d"), array("I"))
    for replica, start_s, end_s in gaps:
        out.gap_replica.append(replica)
        out.gap_start.append(start_s)
        out.gap_end.append(end_s)
    return out


def idle(busy: Iterable[Interval], span_s: float) -> list[Interval]:
    """The parts of [0, span_s) that lie in none of `busy`."""
    gaps: list[Interval] = []
    free_from = 0.0
    for start_s, end_s in sorted(busy):
        if start_s > free_from:
            gaps.append((free_from, start_s))
        free_from = max(free_from, end_s)
    return [*gaps, (free_from, span_s)] if free_from < span_s else gaps
