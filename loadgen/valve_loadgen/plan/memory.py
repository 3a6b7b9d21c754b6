"""Owns the replay of replicas' KV usage under a policy: reclaims, stalls, what is left (pure)."""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from valve_loadgen.plan.kv import Usage

TICK_S = 10.0
"""Policies also see the time pass without an event."""
RECLAIM_S = 0.002
"""From a reclaim's start until online work can use the pages: an assumption."""


class Policy(Protocol):
    """How many of a device's pages are kept for online work."""

    def reserve(self, now_s: float, used: int, soon: int, tenants: int, total: int) -> int:
        """Of `total`; tenants hold `tenants`, and take at once what is not kept. `soon`: what online work
        will need beyond what it uses.
        """
        ...


MakePolicy = Callable[[Usage], Policy]
"""One for each replica; only those that judge in hindsight look at its usage."""


@dataclass(frozen=True)
class Replay:
    """What a policy did on some replicas."""

    hours: float
    """Summed over replicas."""
    reclaims_s: Sequence[Sequence[float]]
    """When, by replica."""
    reclaimed: int
    """Pages that tenants lost."""
    stalls: int
    """Allocations of online work that had to wait for a reclaim."""
    stalled_s: float
    offline_page_hours: float
    total_pages: int

    @property
    def reclaims_per_hour(self) -> float:
        return sum(map(len, self.reclaims_s)) / self.hours

    @property
    def most_in_an_hour(self) -> int:
        """Of any replica, in any 3600 seconds."""
        return max(
            (
                index + 1 - bisect_left(times, at_s - 3600 + 1e-6)
                for times in self.reclaims_s
                for index, at_s in enumerate(times)
            ),
            default=0,
        )

    @property
    def offline_share(self) -> float:
        """Of all page-hours, those that tenants could use."""
        return self.offline_page_hours / (self.hours * self.total_pages)

    def as_json(self) -> dict[str, Any]:
        """Figures per hour are of one replica."""
        return {
            "offline_share": self.offline_share,
            "offline_page_hours": self.offline_page_hours,
            "reclaims_per_hour": self.reclaims_per_hour,
            "most_in_an_hour": self.most_in_an_hour,
            "reclaimed_pages_per_hour": self.reclaimed / self.hours,
            "stalls_per_hour": self.stalls / self.hours,
            "stalled_ms_per_hour": self.stalled_s * 1e3 / self.hours,
        }


class _Replica:
    """One replica's state while it is replayed from `warm_s` on."""

    def __init__(self, policy: Policy, total: int, warm_s: float) -> None:
        self._policy, self._total, self._warm_s = policy, total, warm_s
        self.kept = policy.reserve(0.0, 0, 0, 0, total)
        self.reclaims_s: list[float] = []
        self.reclaimed = self.stalls = 0
        self.stalled_s = self.kept_page_s = 0.0
        self._held, self._now_s = 0, 0.0
        self._before, self._ready_s = self.kept, 0.0

    def look(self, now_s: float, held: int, announced: int) -> None:
        """Online work holds `held` pages from now on, and announces more."""
        self._count(now_s)
        tenants = self._total - self.kept
        kept = self._policy.reserve(now_s, held, announced, tenants, self._total)
        if kept > self.kept:
            self._reclaim(now_s, kept)
        self.kept = kept
        if held > self._held:
            self._allocate(now_s, held)
        self._held = held

    def _count(self, now_s: float) -> None:
        counted_s = max(0.0, now_s - max(self._now_s, self._warm_s))
        self.kept_page_s += self.kept * counted_s
        if self._held > self.kept:
            self.stalled_s += counted_s
        self._now_s = now_s

    def _reclaim(self, now_s: float, kept: int) -> None:
        self._before, self._ready_s = self.kept, now_s + RECLAIM_S
        if now_s >= self._warm_s:
            self.reclaims_s.append(now_s)
            self.reclaimed += kept - self.kept

    def _allocate(self, now_s: float, held: int) -> None:
        waits_s = self._ready_s - now_s
        short = held > self.kept or (waits_s > 0 and held > self._before)
        if short and now_s >= self._warm_s:
            self.stalls += 1
            self.stalled_s += max(waits_s, 0.0)


def replay(
    usages: Iterable[Usage], policy: MakePolicy, total: int, *, announced: bool, warm_s: float = 0.0
) -> Replay:
    """Each replica under a policy of its own; `announced`: whether it is told of prompts that wait. What
    happens before `warm_s` is not counted.
    """
    known = list(usages)
    replicas = [_run(usage, _Replica(policy(usage), total, warm_s), total, announced) for usage in known]
    hours = sum(usage.span_s - warm_s for usage in known) / 3600
    kept_page_h = sum(replica.kept_page_s for replica in replicas) / 3600
    return Replay(
        hours,
        [replica.reclaims_s for replica in replicas],
        sum(replica.reclaimed for replica in replicas),
        sum(replica.stalls for replica in replicas),
        sum(replica.stalled_s for replica in replicas),
        hours * total - kept_page_h,
        total,
    )


def _run(usage: Usage, replica: _Replica, total: int, announced: bool) -> _Replica:
    held = waiting = soon = 0
    tick_s = TICK_S
    for at_s, more, told in [*usage.changes, (usage.span_s, 0, 0)]:
        while tick_s < min(at_s, usage.span_s):
            replica.look(tick_s, min(held, total), soon)
            tick_s += TICK_S
        if at_s > usage.span_s:
            break
        held, waiting = held + more, waiting + told
        soon = min(waiting, usage.soon_max) if announced else 0
        replica.look(at_s, min(held, total), soon)
    return replica
