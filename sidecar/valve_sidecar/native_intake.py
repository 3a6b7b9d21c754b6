"""The native intake (native/intake) as Python sees it: its options, its counters, its log."""

from __future__ import annotations

import ctypes
import os
import weakref
from typing import cast

import orjson

from valve_adapters.adapter import Adapter

from . import native
from .answer import Answer
from .config import Mode
from .events import Record, request_record
from .flight import Flight, Outcome
from .native import EventKind
from .trace import TraceContext

BATCH = 64  # events that are copied at once: the plane's thread may wait for that long
FLIGHT_KINDS = 1 << EventKind.CLOSE | 1 << EventKind.REQUEST
ALL_KINDS = sum(1 << kind for kind in EventKind)
NO_FIXED_COOLDOWN = 2**64 - 1
RECENT_CLOSES = 1024


class NativeIntake:
    """`calls` and `handle` are for the data plane's options. `close` once that has stopped."""

    def __init__(
        self,
        adapter: Adapter,
        mode: Mode,
        fixed_cooldown_ns: int | None,
        *,
        measures_arrivals: bool = False,
        trace_share: float | None = None,
        worker: int = 0,
    ) -> None:
        """`trace_share`: of the requests whose client has not decided; None: nothing is traced."""
        self.adapter, self._worker = adapter, worker
        self._library = native.library()
        self.notice_fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._asked = native.IS_INFERENCE(self._is_inference)  # kept: C holds no reference
        options = native.IntakeOptions(
            mode is not Mode.BYPASS,
            measures_arrivals,
            NO_FIXED_COOLDOWN if fixed_cooldown_ns is None else fixed_cooldown_ns,
            self.notice_fd,
            -1.0 if trace_share is None else trace_share,
            self._asked,
        )
        self.handle: int = self._library.intake_create(ctypes.byref(options))
        if not self.handle:
            raise MemoryError
        weakref.finalize(self, self._library.intake_destroy, self.handle)
        self._library.set_engine(self.handle, *engine_times_ns(adapter))
        self.calls: native.Calls = self._library.intake_calls().contents
        self._closing: dict[int, Flight] = {}  # by generation: those that closed the gate lately
        self.stats: native.IntakeStats = self._library.intake_stats(self.handle).contents

    def close(self) -> None:
        """Nothing more is told; what was told can still be read."""
        os.close(self.notice_fd)

    def _is_inference(self, method: int, method_len: int, path: int, path_len: int, upgrade: bool) -> bool:
        method_text, path_text = native.text(method, method_len), native.text(path, path_len)
        return self.adapter.is_inference(method_text, path_text, upgrade=upgrade)

    # ---- the log ----

    def add(self, record: Record) -> None:
        """As events.EventLog's."""
        text = orjson.dumps(record)
        if len(text) > native.MADE_MAX:  # a client may have named its request in characters that grow in JSON
            text = orjson.dumps(record | {"request_id": ""})
        self._library.log_add(self.handle, record["t_ns"], text, len(text))

    def since(self, start: int, limit: int) -> Record:
        """As events.EventLog's."""
        start = max(start, 0)
        found, following = self._read(start, ALL_KINDS, min(BATCH, limit))
        while found and len(found) < limit:
            batch, following = self._read(following, ALL_KINDS, min(BATCH, limit - len(found)))
            if not batch:
                break
            found += batch
        first = found[0].number if found else following
        events = [{"seq": event.number, "worker": self._worker, **self._format(event)} for event in found]
        return {"events": events, "next": following, "dropped": max(0, first - start)}

    def _format(self, event: native.Event) -> Record:
        if event.kind == EventKind.MADE:
            return cast(Record, orjson.loads(event.text("made")))
        if event.kind != EventKind.REQUEST:
            return format_event(event)
        flight = flight_of(event, self.adapter.name)
        if flight.closed_gate:
            flight.preemption_ns = self._preemption_ns(flight.generation)
        return request_record(flight)

    def note_close(self, flight: Flight) -> None:
        """`flight` closed the gate: what its stop took is told with its end."""
        self._closing[flight.generation] = flight
        if len(self._closing) > RECENT_CLOSES:
            del self._closing[next(iter(self._closing))]

    def _preemption_ns(self, generation: int) -> int:
        flight = self._closing.get(generation)
        return flight.preemption_ns if flight else 0

    def flights_since(self, start: int) -> tuple[list[native.Event], int]:
        """The closings and ended requests from number `start` on, and where to go on."""
        found: list[native.Event] = []
        while True:
            batch, start = self._read(start, FLIGHT_KINDS, BATCH)
            found += batch
            if len(batch) < BATCH:
                return found, start

    def _read(self, start: int, kinds: int, limit: int) -> tuple[list[native.Event], int]:
        batch, following = (native.Event * limit)(), ctypes.c_uint64()
        count = self._library.log_read(self.handle, start, kinds, batch, limit, ctypes.byref(following))
        return batch[:count], following.value


def engine_times_ns(adapter: Adapter) -> tuple[int, int]:
    """What vlv_intake_set_engine() is told."""
    return int(adapter.guard_s * 1e9), int(adapter.ask_again_s * 1e9)


def format_event(event: native.Event) -> Record:
    """As docs/events.md has it; of those that are no requests and not made already."""
    record = {"kind": EventKind(event.kind).name.lower(), "t_ns": event.t_ns}
    if event.kind != EventKind.LAPSE:
        record["generation"] = event.generation
    if event.kind == EventKind.CLOSE:
        record["request_id"] = event.text("request_id")
    return record


def flight_of(event: native.Event, engine: str) -> Flight:
    """Of a closing or an ended request: what the thread noted of it."""
    flight = Flight(event.text("request_id"), event.text("path"), None, event.readable_ns, engine=engine)
    for name in ("generation", "arrival_ns", "gate_ns", "closes_seen", "first_token_ns", "last_token_ns"):
        setattr(flight, name, getattr(event, name))
    for name in ("finished_ns", "tokens", "max_gap_ns", "status"):
        setattr(flight, name, getattr(event, name))
    flight.upgrade, flight.closed_gate = bool(event.upgrade), bool(event.closed_gate)
    flight.outcome = Outcome(native.OUTCOMES[event.outcome])
    flight.answer, flight.trace = answer_of(event), trace_of(event)
    return flight


def answer_of(event: native.Event) -> Answer:
    reasons = tuple(filter(None, event.text("finish_reasons").split(",")))
    streamed = bool(event.streamed)
    return Answer(event.text("model"), event.text("response_id"), reasons, event.input_tokens, streamed)


def trace_of(event: native.Event) -> TraceContext | None:
    if not event.span:
        return None
    parent = f"{event.parent:016x}" if event.parent else ""
    return TraceContext(f"{event.trace_high:016x}{event.trace_low:016x}", f"{event.span:016x}", parent)
