"""An intake that writes down what a data plane tells it, and lets a test wait for it."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from valve_sidecar.flight import Flight, Head, Outcome
from valve_sidecar.trace import TraceContext

from .wire import PATIENCE_S


class NoTokens:
    tokens = 0

    def feed(self, data: bytes) -> int:  # noqa: ARG002
        return 0


@dataclass
class Ending:
    flight: Flight
    outcome: Outcome
    status: int


@dataclass
class Record:
    """Implements flight.Intake: a POST or an upgrade is a flight, the rest passes."""

    heads: list[Head] = field(default_factory=list)
    bytes_seen: dict[str, bytes] = field(default_factory=dict)  # by request id
    errors: list[str] = field(default_factory=list)
    endings: list[Ending] = field(default_factory=list)
    held_back: list[Flight] = field(default_factory=list)  # their clients do not read
    trace: TraceContext | None = None  # what every flight is given

    def __post_init__(self) -> None:
        self._changed = threading.Condition()
        self.arrived: queue.Queue[Flight] = queue.Queue()

    def arrive(self, head: Head) -> Flight | None:
        with self._changed:
            self.heads.append(head)
            if head.method != "POST" and not head.upgrade:
                return None
            flight = Flight(str(len(self.heads)), head.path, NoTokens(), head.readable_ns, trace=self.trace)
            self.bytes_seen[flight.request_id] = b""
        self.arrived.put(flight)
        return flight

    def progress(self, flight: Flight, data: bytes) -> None:
        assert not any(ending.flight is flight for ending in self.endings), "progress after the end"
        self.bytes_seen[flight.request_id] += data

    def hold_back(self, flight: Flight, *, held: bool) -> None:
        assert held != (flight in self.held_back), "told twice"
        if held:
            self.held_back.append(flight)
        else:
            self.held_back.remove(flight)

    def finish(self, flight: Flight, outcome: Outcome, status: int) -> None:
        with self._changed:
            self.endings.append(Ending(flight, outcome, status))
            self._changed.notify_all()

    def count_error(self, kind: str) -> None:
        with self._changed:
            self.errors.append(kind)
            self._changed.notify_all()

    def ending(self, number: int = 0) -> Ending:
        """The ending at this place in the order of endings, once it is there."""
        self._await(lambda: len(self.endings) > number)
        return self.endings[number]

    def error(self) -> str:
        """The first error counted, once there is one."""
        self._await(lambda: bool(self.errors))
        return self.errors[0]

    def _await(self, condition: Callable[[], bool]) -> None:
        with self._changed:
            assert self._changed.wait_for(condition, PATIENCE_S), f"never happened; {self}"
