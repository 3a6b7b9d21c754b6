"""How often memory may be reclaimed from tenants: at most so many times in any hour (pure)."""

from __future__ import annotations

from collections import deque

WINDOW_S = 3600.0
PER_HOUR = 30


class ReclaimLimit:
    """A sliding window over the times of past reclaims. Times never run backwards."""

    def __init__(self, per_hour: int = PER_HOUR) -> None:
        self.per_hour = per_hour
        self._spent_s: deque[float] = deque()

    def left(self, now_s: float) -> int:
        """How many more reclaims may happen now."""
        while self._spent_s and now_s - self._spent_s[0] >= WINDOW_S:
            self._spent_s.popleft()
        return self.per_hour - len(self._spent_s)

    def spend(self, now_s: float) -> None:
        """One reclaim happens now. Raises ValueError if none is left."""
        if self.left(now_s) < 1:
            raise ValueError(f"{self.per_hour} reclaims have happened within the hour")
        self._spent_s.append(now_s)
