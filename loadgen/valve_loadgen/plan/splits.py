"""Owns what one would do without a policy that learns: fixed splits, a few pages kept ready (pure)."""

from dataclasses import dataclass

from valve_loadgen.plan import memory
from valve_loadgen.plan.kv import Usage
from valve_loadgen.plan.memory import Replay

PREALLOCATED = 5, 10
"""kvcached keeps so many pages ready: fewer are filled up, more are given back."""


@dataclass
class Split:
    """So many pages are online's. When it needs more it takes them, and `chunk` more each time; it gives
    back what it does not use beyond its part and the chunk.
    """

    pages: int
    chunk: int = 0
    _kept: int = 0

    def reserve(self, now_s: float, used: int, soon: int, tenants: int, total: int) -> int:  # noqa: ARG002
        if used > max(self._kept, self.pages):
            self._kept = used + self.chunk
        self._kept = min(max(self.pages, min(self._kept, used + self.chunk)), total)
        return self._kept


@dataclass
class Prealloc:
    """Some pages beyond what is used are kept ready."""

    _kept: int = 0

    def reserve(self, now_s: float, used: int, soon: int, tenants: int, total: int) -> int:  # noqa: ARG002
        fewest, most = PREALLOCATED
        if not used + fewest <= self._kept <= used + most:
            self._kept = used + most
        return min(self._kept, total)


def at_peak(usage: Usage) -> Split:
    """The smallest split that never takes anything from tenants, known in hindsight."""
    return Split(usage.peak)


def best_split(usage: Usage, total: int, offline_share: float, chunk: int, warm_s: float) -> Replay | None:
    """The largest split, in hindsight, that leaves tenants no less than `offline_share` of the page-hours;
    None if none does.
    """
    whole = memory.replay([usage], at_peak, total, announced=False, warm_s=warm_s)
    if whole.offline_share >= offline_share:
        return whole
    low, high, found = 0, usage.peak, None
    while high - low > max(1, low // 50):
        pages = (low + high) // 2
        policy = Split(pages, chunk)
        tried = memory.replay([usage], lambda _, policy=policy: policy, total, announced=False, warm_s=warm_s)  # type: ignore[misc]
        if tried.offline_share >= offline_share:
            low, found = pages, tried
        else:
            high = pages
    return found
