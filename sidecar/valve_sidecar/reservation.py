"""How many KV pages of a device are kept for online work: its recent peak and a head-room (pure).

The head-room follows the paper's MIAD: multiplicative increase on a reclaim, additive decrease. The rules:

1. The reservation is at least what online work demands now, its highest demand of the last two hours, and
   the head-room.
2. To raise it over what tenants leave free is a *reclaim*: tenants lose what they kept in those pages. A
   reclaim takes twice the demand, so that the next one is far; the excess is given back evenly over time.
3. At most so many reclaims happen in any hour (reclaim_limit.py). The last one that the limit permits takes
   every page, and nothing is given back until another is permitted: so online work never waits for the limit.
"""

from __future__ import annotations

from collections import deque
from typing import Protocol

from .reclaim_limit import ReclaimLimit

INCREASE = 2.0  # a reclaim takes so many times the demand
DECREASE_S = 600.0  # the head-room's excess is given back evenly over this time
PEAK_S = 7200.0  # and a peak of the demand is remembered for this long
PEAK_STEP_S = 60.0  # with this resolution
FLOOR_SHARE = 1024  # of the memory at least a 1,024th is kept
LOWER_S = 10.0  # pages are given back so often at most: each time wakes every pool


class Reserve(Protocol):
    """A policy. Its counters only grow."""

    limit: ReclaimLimit
    reclaims: int
    reclaimed: int  # pages
    refused: int  # times the limit stood in the way

    def reserve(self, now_s: float, used: int, soon: int, tenants: int, total: int) -> int:
        """Pages that are online's from now on, used or not, of `total`. `used`: what online work uses or
        waits for; `soon`: what it will need besides; `tenants`: what tenants hold. `now_s` never runs
        backwards.
        """
        ...


class Reservation:
    """The default policy: see above."""

    def __init__(self, limit: ReclaimLimit, start_pages: int = 0) -> None:
        self.limit = limit
        self.pages = start_pages
        self.reclaims = self.reclaimed = self.refused = 0
        self._peaks: deque[tuple[float, int]] = deque()  # (step, highest demand in it), falling
        self._headroom = float(start_pages)
        self._decrease_pages_s = start_pages / DECREASE_S
        self._now_s: float | None = None
        self._lowered_s = 0.0

    def reserve(self, now_s: float, used: int, soon: int, tenants: int, total: int) -> int:
        """As Reserve's."""
        self._pass_time(now_s)
        floor = -(-total // FLOOR_SHARE)
        wish = max(self._peak(now_s, used), used + soon, int(self._headroom), floor)
        wish = min(wish, total)
        if wish <= self.pages:
            self._lower(now_s, wish)
        elif wish <= total - tenants:
            self.pages = wish
        else:
            self._reclaim(now_s, wish, max(self.pages, total - tenants), total)
        return self.pages

    def _pass_time(self, now_s: float) -> None:
        passed_s = now_s - (now_s if self._now_s is None else self._now_s)
        self._now_s = now_s
        self._headroom = max(0.0, self._headroom - self._decrease_pages_s * passed_s)

    def _peak(self, now_s: float, used: int) -> int:
        step = now_s // PEAK_STEP_S
        while self._peaks and self._peaks[-1][1] <= used:
            self._peaks.pop()
        if not self._peaks or self._peaks[-1][0] < step:
            self._peaks.append((step, used))
        while (step - self._peaks[0][0]) * PEAK_STEP_S >= PEAK_S:
            self._peaks.popleft()
        return self._peaks[0][1]

    def _lower(self, now_s: float, wish: int) -> None:
        if wish < self.pages and self.limit.left(now_s) and now_s - self._lowered_s >= LOWER_S:
            self.pages, self._lowered_s = wish, now_s

    def _reclaim(self, now_s: float, wish: int, kept: int, total: int) -> None:
        """`kept`: what tenants do not hold now."""
        left = self.limit.left(now_s)
        if not left:
            self.refused += 1
            self.pages = kept
            return
        self.limit.spend(now_s)
        self.pages = total if left == 1 else min(total, int(wish * INCREASE))
        self._headroom, self._decrease_pages_s = float(self.pages), self.pages / DECREASE_S
        self.reclaims += 1
        self.reclaimed += self.pages - kept


class FixedReservation:
    """So many pages, whatever happens: tenants give back once, when it is set."""

    def __init__(self, pages: int) -> None:
        self.pages = pages
        self.limit = ReclaimLimit()
        self.reclaims = self.reclaimed = self.refused = 0

    def reserve(self, now_s: float, used: int, soon: int, tenants: int, total: int) -> int:  # noqa: ARG002
        """As Reserve's."""
        return min(self.pages, total)
