"""How long to wait between drained and resume: twice the largest decode gap seen recently (paper, section
4.1).
"""

from __future__ import annotations

from collections import deque

FLOOR_NS = 50_000_000  # below it nothing is gained; the next turn of a conversation often falls inside
CEILING_NS = 200_000_000  # above it harvest falls by points (docs/results, cool-down sweep)
WINDOW = 64  # requests that count as recent


class Prefills:
    """Tells decode gaps from the waits in which the engine worked on somebody's prompt: only the first
    repeat.
    """

    def __init__(self) -> None:
        self._running = 0
        self._ended_ns = 0

    def began(self) -> None:
        self._running += 1

    def ended(self, now_ns: int) -> None:
        """Its first token is out, or it ended without one."""
        self._running -= 1
        self._ended_ns = now_ns

    def decode_gap_ns(self, last_token_ns: int, now_ns: int) -> int:
        """The gap between two token chunks of one stream; 0 if a prompt was being processed in it."""
        disturbed = self._running > 0 or self._ended_ns > last_token_ns
        return 0 if disturbed else now_ns - last_token_ns


class Cooldown:
    """Pure: requests' largest gaps in, a duration out. A fixed duration wins."""

    def __init__(self, fixed_ns: int | None = None) -> None:
        self._fixed_ns = fixed_ns
        self._gaps_ns: deque[int] = deque(maxlen=WINDOW)

    def observe(self, max_gap_ns: int) -> None:
        """The largest decode gap of one finished request; 0 if it had none."""
        if max_gap_ns > 0:
            self._gaps_ns.append(max_gap_ns)

    @property
    def duration_ns(self) -> int:
        if self._fixed_ns is not None:
            return self._fixed_ns
        return min(max(2 * max(self._gaps_ns, default=0), FLOOR_NS), CEILING_NS)
