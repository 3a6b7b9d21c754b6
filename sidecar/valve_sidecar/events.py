"""What happened, in order: a bounded log that the hot path only appends to; readers get plain dictionaries.

Kinds and fields are documented in docs/events.md.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .flight import Flight

CAPACITY = 65_536

Record = dict[str, Any]


class EventLog:
    """Appends are O(1) and format nothing; `since` formats what is asked for."""

    def __init__(self, worker: int = 0) -> None:
        self._worker = worker
        self._ring: list[Callable[[], Record] | None] = [None] * CAPACITY
        self._next = 0

    def closed(self, t_ns: int, generation: int, flight: Flight) -> None:
        self._append(_Closed(t_ns, generation, flight))

    def opened(self, t_ns: int, generation: int, slice_until_ns: int = 0) -> None:
        """0: drained."""
        self._append(_Opened(t_ns, generation, slice_until_ns))

    def slice_ended(self, t_ns: int, generation: int, due_ns: int) -> None:
        self._append(_SliceEnded(t_ns, generation, due_ns))

    def lapsed(self, t_ns: int) -> None:
        self._append(_Lapsed(t_ns))

    def request(self, flight: Flight) -> None:
        self._append(_Request(flight))

    def add(self, record: Record) -> None:
        """A record that is made already, with its `kind` and `t_ns`: a tenant's acknowledgement, a
        worker's event."""
        self._append(_Made(record))

    def _append(self, entry: Callable[[], Record]) -> None:
        self._ring[self._next % CAPACITY] = entry
        self._next += 1

    def since(self, start: int, limit: int) -> Record:
        """{"events": [...], "next": N, "dropped": K}; at most `limit` events from sequence number `start`
        on."""
        first = min(max(start, self._next - CAPACITY, 0), self._next)
        last = min(first + limit, self._next)
        events = [{"seq": i, "worker": self._worker, **self._format(i)} for i in range(first, last)]
        return {"events": events, "next": last, "dropped": max(0, first - max(start, 0))}

    def _format(self, sequence: int) -> Record:
        entry = self._ring[sequence % CAPACITY]
        return entry() if entry is not None else {}


@dataclass(frozen=True, slots=True)
class _Closed:
    t_ns: int
    generation: int
    flight: Flight  # its id may be given after the close

    def __call__(self) -> Record:
        return {
            "kind": "close",
            "t_ns": self.t_ns,
            "generation": self.generation,
            "request_id": printable(self.flight.request_id),
        }


@dataclass(frozen=True, slots=True)
class _Opened:
    t_ns: int
    generation: int
    slice_until_ns: int

    def __call__(self) -> Record:
        slice_of = {"slice_until_ns": self.slice_until_ns} if self.slice_until_ns else {}
        return {"kind": "open", "t_ns": self.t_ns, "generation": self.generation, **slice_of}


@dataclass(frozen=True, slots=True)
class _SliceEnded:
    t_ns: int
    generation: int
    due_ns: int

    def __call__(self) -> Record:
        close = {"kind": "close", "t_ns": self.t_ns, "generation": self.generation}
        return close | {"request_id": "", "due_ns": self.due_ns}


@dataclass(frozen=True, slots=True)
class _Lapsed:
    t_ns: int

    def __call__(self) -> Record:
        return {"kind": "lapse", "t_ns": self.t_ns}


@dataclass(frozen=True, slots=True)
class _Made:
    record: Record

    def __call__(self) -> Record:
        return self.record


@dataclass(frozen=True, slots=True)
class _Request:
    flight: Flight

    def __call__(self) -> Record:
        return request_record(self.flight)


def request_record(f: Flight) -> Record:
    """Of a request that has ended."""
    trace = f.trace
    return {
        "kind": "request",
        "t_ns": f.finished_ns,
        "request_id": printable(f.request_id),
        "path": printable(f.path),
        "readable_ns": f.readable_ns,
        "arrival_ns": f.arrival_ns,
        "gate_ns": f.gate_ns,
        "generation": f.generation,
        "closed_gate": f.closed_gate,
        "closes_seen": f.closes_seen,
        "slices_seen": f.slices_seen,
        "first_token_ns": f.first_token_ns,
        "last_token_ns": f.last_token_ns,
        "finished_ns": f.finished_ns,
        "tokens": f.tokens,
        "max_gap_ns": f.max_gap_ns,
        "status": f.status,
        "outcome": f.outcome,
        "upgrade": f.upgrade,
        "engine": f.engine,
        "model": f.answer.model,
        "response_id": f.answer.response_id,
        "streamed": f.answer.streamed,
        "finish_reasons": f.answer.finish_reasons,
        "input_tokens": f.answer.input_tokens,
        "preemption_ns": f.preemption_ns,
        **({} if trace is None else trace.as_dict()),
    }


def printable(raw: str) -> str:
    """What a client sent may hold bytes that are no text; JSON cannot carry them."""
    return raw.encode(errors="replace").decode()
