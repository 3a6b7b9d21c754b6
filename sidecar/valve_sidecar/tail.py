"""`valve events`: the event log as lines, for people or (--json) for their tools."""

from __future__ import annotations

import sys
from typing import Any

import orjson

from .admin_client import BATCH, AdminClient

SHOWN_FIRST = ("seq", "worker", "kind", "t_ns")
DURATIONS = ("latency_ns", "preemption_ns", "max_gap_ns", "stopped_ns")
EMPTY: tuple[Any, ...] = ("", 0, [], False)


def print_events(client: AdminClient, since: int, *, follow: bool, as_json: bool) -> None:
    """Raises SidecarError if there is no sidecar and `follow` is off."""
    if follow:
        for told in client.follow(since):
            _print(told, as_json=as_json)
        return
    while True:
        told = client.events(since)
        _print(told, as_json=as_json)
        since = told["next"]
        if len(told["events"]) < BATCH:
            return


def line_of(event: dict[str, Any]) -> str:
    """Seconds of CLOCK_MONOTONIC, kind, and what a person may want to know; stamps are in the JSON only."""
    words = [_word(key, value) for key, value in event.items() if key not in SHOWN_FIRST]
    return f"{event['t_ns'] / 1e9:.6f} {event['kind']:8} {' '.join(filter(None, words))}".rstrip()


def _word(key: str, value: Any) -> str:
    if value in EMPTY or (key.endswith("_ns") and key not in DURATIONS):
        return ""
    if key in DURATIONS:
        return f"{key.removesuffix('_ns')}={value / 1e6:.3f}ms"
    text = ",".join(map(str, value)) if isinstance(value, list) else str(value)
    return f"{key}={orjson.dumps(text).decode() if any(c.isspace() for c in text) else text}"


def _print(told: dict[str, Any], *, as_json: bool) -> None:
    if told.get("away"):
        print(f"valve events: {told['away']}; waiting for it", file=sys.stderr, flush=True)
    if told["dropped"]:
        print(f"valve events: {told['dropped']} older events are no longer kept", file=sys.stderr, flush=True)
    for event in told["events"]:
        print(orjson.dumps(event).decode() if as_json else line_of(event))
    sys.stdout.flush()
