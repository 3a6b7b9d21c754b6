"""Owns a window's course in time: online in flight, gate, offline progress, as a chart needs them (pure)."""

from collections.abc import Sequence
from typing import Any

from valve_loadgen.events import Event
from valve_loadgen.results import BIN_NS, BUDGET, NO_GATE, VALVE, Results, Window


def timelines(results: Results) -> list[dict[str, Any]]:
    """Of every shared window. Times in s from its start; `gate_closed` as [from, to] pairs."""
    told = {NO_GATE: results.events, VALVE: results.events, BUDGET: results.budget_events}
    closed = {arm: closed_ns(events) for arm, events in told.items()}
    return [_timeline(window, closed[window.arm]) for window in results.windows if window.arm in closed]


def _timeline(window: Window, closed: Sequence[tuple[int, int]]) -> dict[str, Any]:
    inside = [(max(a, window.start_ns), min(b, window.end_ns)) for a, b in closed]
    return {
        "arm": window.arm,
        "round": window.round,
        "span_s": window.wall_s,
        "in_flight": [[(at_ns - window.start_ns) / 1e9, count] for at_ns, count in in_flight(window)],
        "gate_closed": [
            [(a - window.start_ns) / 1e9, (b - window.start_ns) / 1e9] for a, b in inside if a < b
        ],
        "bin_s": BIN_NS / 1e9,
        "offline_tokens": window.offline_bins,
    }


def in_flight(window: Window) -> list[tuple[int, int]]:
    """(time, requests in flight from then on), a step at each send and each end."""
    changes = sorted([(begin, 1) for begin, _ in window.busy] + [(end, -1) for _, end in window.busy])
    steps, count = [(window.start_ns, 0)], 0
    for at_ns, change in changes:
        count += change
        steps.append((at_ns, count))
    return steps


def closed_ns(events: Sequence[Event]) -> list[tuple[int, int]]:
    """When the gate was closed, by the sidecar's own events, as (close, open)."""
    told = sorted((event["t_ns"], event["kind"]) for event in events if event["kind"] in ("close", "open"))
    spans, since = [], None
    for at_ns, kind in told:
        if kind == "close" and since is None:
            since = at_ns
        elif kind == "open" and since is not None:
            spans.append((since, at_ns))
            since = None
    return spans + ([(since, 1 << 63)] if since is not None else [])
