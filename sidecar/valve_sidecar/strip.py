"""A line of text that shows over time when something was stopped. Pure."""

from __future__ import annotations

from collections import deque
from itertools import pairwise

KEPT = 4_096
RUNS, STOPPED, BOTH, UNKNOWN = "█", "·", "▄", " "


class Strip:
    """Changes between running and stopped, in order of time."""

    def __init__(self) -> None:
        self._changes: deque[tuple[int, bool]] = deque(maxlen=KEPT)

    def change(self, t_ns: int, *, stopped: bool) -> None:
        self._changes.append((t_ns, stopped))

    def render(self, start_ns: int, end_ns: int, width: int, *, known_ns: int, stopped_now: bool) -> str:
        """One sign for each of `width` equal times: running, stopped, both, or before `known_ns`."""
        step_ns = (end_ns - start_ns) / width
        spans = pairwise(start_ns + i * step_ns for i in range(width + 1))
        return "".join(
            self._sign(left, right, stopped_now) if right > known_ns else UNKNOWN for left, right in spans
        )

    def _sign(self, start_ns: float, end_ns: float, stopped_now: bool) -> str:
        inside = {stopped for t_ns, stopped in self._changes if start_ns <= t_ns < end_ns}
        inside.add(self._before(start_ns, stopped_now))
        if len(inside) == 2:
            return BOTH
        return STOPPED if inside.pop() else RUNS

    def _before(self, t_ns: float, stopped_now: bool) -> bool:
        """The last change before it says; else the first change, which was one from the other state."""
        earlier = [stopped for changed_ns, stopped in self._changes if changed_ns < t_ns]
        if earlier:
            return earlier[-1]
        return not self._changes[0][1] if self._changes else stopped_now
