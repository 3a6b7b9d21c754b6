"""Owns the ways to spread requests over replicas: one entry of ROUTINGS each (pure)."""

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from valve_loadgen.plan.kernel import Fleet, Rule

Build = Callable[[Sequence[float], int, int], Fleet]
"""(each deployment's load, replicas, pack limit) -> fleet"""

BALANCED, LEAST_LOADED, DEDICATED, PACK_FIRST = "balanced", "least_loaded", "dedicated", "pack_first"


@dataclass(frozen=True)
class Routing:
    title: str
    build: Build


def _pool(rule: Rule) -> Build:
    return lambda loads, replicas, limit: Fleet(replicas, [(0, replicas)] * len(loads), rule, limit)


def _dedicated(loads: Sequence[float], replicas: int, limit: int) -> Fleet:
    share = _own if len(loads) <= replicas else _shared
    return Fleet(replicas, share(loads, replicas), Rule.ROTATE, limit)


def _own(loads: Sequence[float], replicas: int) -> list[tuple[int, int]]:
    """One replica each; every further one goes where the load by replica is highest."""
    sizes = [1] * len(loads)
    neediest = [(-load, index) for index, load in enumerate(loads)]
    heapq.heapify(neediest)
    for _ in range(replicas - len(loads)):
        _, index = neediest[0]
        sizes[index] += 1
        heapq.heapreplace(neediest, (-loads[index] / sizes[index], index))
    bases = [sum(sizes[:index]) for index in range(len(sizes))]
    return list(zip(bases, sizes, strict=True))


def _shared(loads: Sequence[float], replicas: int) -> list[tuple[int, int]]:
    """More deployments than replicas: the largest first, each to the replica with the least load so far."""
    emptiest = [(0.0, replica) for replica in range(replicas)]
    parts = [(0, 1)] * len(loads)
    for index in sorted(range(len(loads)), key=lambda index: -loads[index]):
        load, replica = emptiest[0]
        parts[index] = (replica, 1)
        heapq.heapreplace(emptiest, (load + loads[index], replica))
    return parts


ROUTINGS = {
    BALANCED: Routing("balanced, round robin", _pool(Rule.ROTATE)),
    LEAST_LOADED: Routing("balanced, least loaded", _pool(Rule.LEAST_LOADED)),
    DEDICATED: Routing("dedicated", _dedicated),
    PACK_FIRST: Routing("pack first", _pool(Rule.PACK_FIRST)),
}
OBSERVED = "observed"
OBSERVED_TITLE = "as observed"
