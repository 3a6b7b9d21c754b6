"""What a chaos run has shown, as one JSON document (pure)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from valve_loadgen import machine
from valve_loadgen.stats import percentile

from .checker import PROMISES, Violation
from .history import History


def report(
    histories: Sequence[History], found: Iterable[tuple[History, Violation]], seconds: float
) -> dict[str, Any]:
    """{"faults", "kinds", "states", "cells", "requests", "stops", "converged_ms", "violations", ...}."""
    injections = [each for history in histories for each in history.injections]
    took_ms = [each.took_ms for history in histories for each in history.recoveries]
    return {
        "seed": histories[0].seed,
        "seconds": round(seconds, 1),
        "machine": machine.describe(),
        "faults": len(injections),
        "kinds": dict(sorted(Counter(each.kind for each in injections).items())),
        "states": dict(sorted(Counter(each.state for each in injections).items())),
        "cells": len({(h.cast, i.kind, i.state) for h in histories for i in h.injections}),
        "casts": {history.cast: len(history.injections) for history in histories},
        "requests": sum(len(history.exchanges) for history in histories),
        "outcomes": dict(Counter(each.outcome for history in histories for each in history.exchanges)),
        "stops": sum(change.kind == "stopped" for history in histories for change in history.changes),
        "stop_ms": quantiles(_stops_ms(histories)),
        "movements": sum(len(history.movements) for history in histories),
        "converged_ms": quantiles(took_ms),
        "violations": [_violation(history, violation) for history, violation in found],
        "promises": PROMISES,
    }


def _stops_ms(histories: Sequence[History]) -> list[float]:
    """From an agent's wake to the last thread seen stopped."""
    changes = [change for history in histories for change in history.changes]
    return [(each.done_ns - each.woken_ns) / 1e6 for each in changes if each.kind == "stopped"]


def quantiles(samples: list[float]) -> dict[str, float]:
    if not samples:
        return {}
    named = {f"p{round(q * 100)}": round(percentile(samples, q), 2) for q in (0.5, 0.99)}
    return {"mean": round(sum(samples) / len(samples), 2), **named, "max": round(max(samples), 2)}


def _violation(history: History, violation: Violation) -> dict[str, Any]:
    """With the faults of its time, so that one sees what led to it."""
    near = [i for i in history.injections if i.begun_ns <= violation.at_ns <= i.ended_ns]
    during = [f"{each.number}: {each.kind} at {each.state}" for each in near]
    return {"cast": history.cast, "promise": violation.promise, "text": violation.text, "during": during}
