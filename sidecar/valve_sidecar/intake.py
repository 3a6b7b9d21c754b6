"""Classifies what arrives, closes the gate first, and keeps the stamps of every flight.

`arrive` is the hot path: classify, store and wake (gate.py), two clock reads. Everything else happens
after the answer.
"""

from __future__ import annotations

import time
from itertools import count

from valve_adapters.adapter import Adapter

from .answer import END_BYTES, START_BYTES, read_answer
from .config import Mode
from .cooldown import Cooldown, Prefills
from .events import EventLog
from .flight import Flight, Head, Outcome
from .gate import Gate
from .telemetry import Counters
from .tenants import TenantWatch
from .trace import Tracer

MAX_REQUEST_ID = 128  # characters kept of a client's X-Request-Id
MAX_PATH = 256  # and of its path: the event log keeps them
MAX_PROMPT_BYTES = 131_072  # of a body: what is longer is hardly text


class SidecarIntake:
    """Implements flight.Intake over the adapter, the gate and the counters."""

    def __init__(
        self,
        adapter: Adapter,
        gate: Gate,
        cooldown: Cooldown,
        counters: Counters,
        events: EventLog,
        watch: TenantWatch,
        mode: Mode,
        tracer: Tracer | None = None,
    ) -> None:
        self.adapter, self._gate, self._cooldown = adapter, gate, cooldown
        self._counters, self._events, self._watch = counters, events, watch
        self._tracer = tracer
        self._gated = mode is not Mode.BYPASS
        self._prefills = Prefills()
        self._numbers = count(1)

    def arrive(self, head: Head) -> Flight | None:
        if not self.adapter.is_inference(head.method, head.path, upgrade=head.upgrade):
            self._counters.passed_through += 1
            return None
        flight = Flight(
            head.headers.get("X-Request-Id", "")[:MAX_REQUEST_ID],
            head.path[:MAX_PATH],
            self.adapter.counter(head.path),
            head.readable_ns,
            upgrade=head.upgrade,
            arrival_ns=time.monotonic_ns(),
        )
        if self._gated:
            self._gate.arrived(flight)
        flight.gate_ns = flight.progress_ns = time.monotonic_ns()
        if self._tracer is not None:
            flight.trace = self._tracer.begin(head.headers)
        self._note_arrival(flight, head)
        return flight

    def progress(self, flight: Flight, data: bytes) -> None:
        now_ns = flight.progress_ns = time.monotonic_ns()
        if self._gated:
            self._gate.progressed(flight)
        if flight.counter is not None and flight.counter.feed(data):
            self._note_token(flight, now_ns)
        if not flight.upgrade:
            keep_ends(flight, data)

    def hold_back(self, flight: Flight, *, held: bool) -> None:
        now_ns = time.monotonic_ns()
        flight.account.held_back = held
        if held:
            flight.held_back_ns = now_ns
        elif self._gated:
            self._gate.held_back(flight, flight.held_back_ns, now_ns)

    def finish(self, flight: Flight, outcome: Outcome, status: int) -> None:
        flight.finished_ns = time.monotonic_ns()
        flight.outcome, flight.status, flight.engine = outcome, status, self.adapter.name
        if flight.counter is not None:
            flight.tokens, flight.counter = flight.counter.tokens, None
        if flight.answer_start:
            flight.answer = read_answer(flight.answer_start, flight.answer_end)
            flight.answer_start = flight.answer_end = b""
        if not flight.first_token_ns and not flight.upgrade:
            self._note_served(flight, flight.finished_ns)
        self._cooldown.observe(flight.max_decode_gap_ns)
        if self._gated:
            self._gate.finished(flight, sure=outcome in (Outcome.COMPLETED, Outcome.REFUSED))
        self._counters.finished(flight)
        self._events.request(flight)

    def count_error(self, kind: str) -> None:
        self._counters.errors[kind] += 1

    def _note_arrival(self, flight: Flight, head: Head) -> None:
        flight.request_id = flight.request_id or f"valve-{next(self._numbers)}"
        self._counters.arrived(flight)
        if not flight.upgrade:
            flight.prompt_bytes = prompt_bytes(head.headers.get("Content-Length", ""))
            self._counters.waits(flight)
            self._prefills.began()
        if flight.closed_gate and flight.generation:  # no generation: nothing was really closed
            self._watch.closed(flight)

    def _note_token(self, flight: Flight, now_ns: int) -> None:
        if flight.first_token_ns:
            last_ns = flight.last_token_ns
            flight.max_gap_ns = max(flight.max_gap_ns, now_ns - last_ns)
            decode_gap_ns = self._prefills.decode_gap_ns(last_ns, now_ns)
            flight.max_decode_gap_ns = max(flight.max_decode_gap_ns, decode_gap_ns)
        else:
            flight.first_token_ns, decode_gap_ns = now_ns, 0
            if not flight.upgrade:
                self._note_served(flight, now_ns)
        flight.last_token_ns = now_ns
        if self._gated:
            self._gate.token(flight, decode_gap_ns)

    def _note_served(self, flight: Flight, now_ns: int) -> None:
        """Its first token is out, or it ended without one."""
        self._counters.served(flight)
        self._prefills.ended(now_ns)


def prompt_bytes(content_length: str) -> int:
    """Of a request's body, bounded; 0 where that is not told beforehand."""
    return min(int(content_length), MAX_PROMPT_BYTES) if content_length.isdecimal() else 0


def keep_ends(flight: Flight, data: bytes) -> None:
    """The first and the last bytes of an answer: they tell its model and how it ended."""
    if len(flight.answer_start) < START_BYTES:
        flight.answer_start += data[: START_BYTES - len(flight.answer_start)]
    flight.answer_end = (flight.answer_end + data[-END_BYTES:])[-END_BYTES:]
