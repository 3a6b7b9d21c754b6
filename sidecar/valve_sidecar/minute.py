"""What a worker's last minute went into, kept so that whoever begins to watch sees all of it (pure)."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from statistics import fmean

from .telemetry import State

SPAN_NS = 60_000_000_000
STEP_NS = 1_000_000_000
SECONDS = {"closed": "gate_closed_s", "drained": "drained_s", "harvested": "harvested_s", "sliced": "slice_s"}

Shares = dict[str, float]


class Minute:
    """`note` the counters whenever that is due."""

    def __init__(self) -> None:
        self._past: deque[tuple[int, Shares]] = deque()

    def is_due(self, now_ns: int) -> bool:
        return not self._past or now_ns - self._past[-1][0] >= STEP_NS

    def note(self, now_ns: int, counters: State) -> None:
        self._past.append((now_ns, {name: counters[key] for name, key in SECONDS.items()}))
        while now_ns - self._past[0][0] > SPAN_NS:
            self._past.popleft()

    def shares(self, now_ns: int, counters: State) -> Shares | None:
        """Of the time since the oldest note: gate closed, nothing in flight, a tenant ran, in slices. None
        before the first.
        """
        if not self._past or now_ns <= self._past[0][0]:
            return None
        since_ns, then = self._past[0]
        span_s = (now_ns - since_ns) / 1e9
        return {name: min((counters[key] - then[name]) / span_s, 1.0) for name, key in SECONDS.items()}


def merge_shares(workers: Iterable[Shares | None]) -> Shares | None:
    """Of several workers the mean, but that every one of them sees the same tenants."""
    told = [shares for shares in workers if shares]
    if not told:
        return None
    mean = {name: fmean(shares[name] for shares in told) for name in SECONDS}
    return mean | {"harvested": max(shares["harvested"] for shares in told)}
