"""Reads a sidecar's events as they come; a sidecar that is killed takes the last of its own with it."""

from __future__ import annotations

import contextlib

import httpx

from .history import Flight, History
from .players import Sidecar


class Events:
    def __init__(self, history: History) -> None:
        self._history = history
        self._admin, self._next = "", 0

    def read(self, sidecar: Sidecar) -> None:
        """What is new. One that does not answer at once is asked again next time."""
        if sidecar.admin != self._admin:
            self._admin, self._next = sidecar.admin, 0
        with contextlib.suppress(httpx.HTTPError):
            answer = httpx.get(f"{self._admin}/events?since={self._next}", timeout=1).json()
            self._next = answer["next"]
            self._history.flights += [
                flight(event) for event in answer["events"] if event["kind"] == "request"
            ]


def flight(event: dict[str, object]) -> Flight:
    return Flight(*(event[key] for key in ("request_id", "arrival_ns", "finished_ns", "closes_seen")))  # type: ignore[arg-type]
