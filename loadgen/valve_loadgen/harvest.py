"""Owns what drained time promises and what came of it: gaps, cool-down sweep, harvest (pure)."""

from collections.abc import Sequence
from typing import Any

from valve_loadgen import stats
from valve_loadgen.events import Event, of_kind
from valve_loadgen.results import OFFLINE_ALONE, ONLINE_ALONE, VALVE, Results, Window

COOLDOWNS_MS = (0, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000)


def report(results: Results) -> dict[str, Any]:
    """What online alone left idle, what that promises under each cool-down, and what was harvested."""
    alone, valve = results.of(ONLINE_ALONE), results.of(VALVE)
    cooldown_ms = stats.quantiles(cooldowns_ms(results.events))["p50"]
    gaps = [gap for window in alone for gap in gaps_ms(window)]
    return {
        "gaps_ms": sorted(gaps),
        "cooldown_ms": cooldown_ms,
        "cooldown_sweep": [predict(alone, each) for each in COOLDOWNS_MS],
        "predicted": predict(alone, cooldown_ms or 0.0)["harvested_fraction"] if alone else None,
        "measured": _measured(results, valve),
        "over_time": [_round(results, number, cooldown_ms or 0.0) for number in _rounds(valve)],
    }


def gaps_ms(window: Window) -> list[float]:
    """How long nothing was in flight, each time, as the client sees it."""
    gaps, free_from = [], window.start_ns
    for begin, end in sorted(window.busy):
        if begin > free_from:
            gaps.append((min(begin, window.end_ns) - free_from) / 1e6)
        free_from = max(free_from, end)
    if window.end_ns > free_from:
        gaps.append((window.end_ns - free_from) / 1e6)
    return gaps


def predict(windows: Sequence[Window], cooldown_ms: float) -> dict[str, Any]:
    """From the gaps alone: each yields what exceeds the cool-down, and costs one preemption at its end."""
    gaps = [gap for window in windows for gap in gaps_ms(window)]
    wall_ms = sum(window.wall_s for window in windows) * 1e3
    requests = sum(len(window.exchanges) for window in windows)
    harvested_ms = sum(max(0.0, gap - cooldown_ms) for gap in gaps)
    opened = sum(gap > cooldown_ms for gap in gaps)
    return {
        "cooldown_ms": cooldown_ms,
        "harvested_fraction": harvested_ms / wall_ms if wall_ms else None,
        "preemptions_per_request": min(opened, requests) / requests if requests else None,
    }


def cooldowns_ms(events: Sequence[Event]) -> list[float]:
    """From the last request's end to the gate's opening, each time it opened."""
    ends = sorted(event["finished_ns"] for event in of_kind(events, "request"))
    opens = sorted(event["t_ns"] for event in of_kind(events, "open"))
    found, index = [], 0
    for opened_ns in opens:
        while index + 1 < len(ends) and ends[index + 1] <= opened_ns:
            index += 1
        if ends and ends[index] <= opened_ns:
            found.append((opened_ns - ends[index]) / 1e6)
    return found


def _rounds(windows: Sequence[Window]) -> list[int]:
    return sorted({window.round for window in windows})


def _round(results: Results, number: int, cooldown_ms: float) -> dict[str, Any]:
    alone = [window for window in results.of(ONLINE_ALONE) if window.round == number]
    valve = [window for window in results.of(VALVE) if window.round == number]
    return {
        "round": number,
        "predicted": predict(alone, cooldown_ms)["harvested_fraction"],
        "measured": _measured(results, valve),
    }


def _measured(results: Results, windows: Sequence[Window]) -> float | None:
    """Offline tokens over those that the offline engine alone makes in the same time."""
    rate, wall_s = results.rate(OFFLINE_ALONE), sum(window.wall_s for window in windows)
    tokens = sum(window.offline_tokens for window in windows)
    return tokens / wall_s / rate if rate and wall_s else None
