"""The native intake (native/intake) as Python sees it: its options, its counters, its log."""

from __future__ import annotations

import ctypes
import dataclasses
import os
import weakref
from typing import cast

import orjson

from valve_adapters.adapter import Adapter

from . import native
from .answer import Answer
from .budget import Goal
from .config import Mode
from .events import Record, request_record
from .flight import Flight
from .native import EventKind
from .native_latencies import bounds_ns, operation_number, read_latencies
from .telemetry import State
from .trace import TraceContext

BATCH = 64  # events that are copied at once: the plane's thread may wait for that long
CLOSES = 1 << EventKind.CLOSE
ALL_KINDS = sum(1 << kind for kind in EventKind)
KINDS = tuple(EventKind)
KIND_NAMES = tuple(kind.name.lower() for kind in EventKind)
NO_FIXED_COOLDOWN = 2**64 - 1
RECENT_CLOSES = 1024


class NativeIntake:
    """`calls` and `handle` are for the data plane's options. `close` once that has stopped."""

    def __init__(
        self,
        adapter: Adapter,
        mode: Mode,
        fixed_cooldown_ns: int | None,
        goal: Goal | None = None,
        *,
        measures_arrivals: bool = False,
        trace_share: float | None = None,
        worker: int = 0,
    ) -> None:
        """`trace_share`: of the requests whose client has not decided; None: nothing is traced."""
        self.adapter, self._worker = adapter, worker
        self._library = native.library()
        self.notice_fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._asked = native.OPERATION(self._operation)  # kept: C holds no reference
        options = native.IntakeOptions(
            mode is not Mode.BYPASS,
            measures_arrivals,
            NO_FIXED_COOLDOWN if fixed_cooldown_ns is None else fixed_cooldown_ns,
            self.notice_fd,
            *dataclasses.astuple(goal or Goal()),
            -1.0 if trace_share is None else trace_share,
            bounds_ns(),
            self._asked,
        )
        self.handle: int = self._library.intake_create(ctypes.byref(options))
        if not self.handle:
            raise MemoryError
        weakref.finalize(self, self._library.intake_destroy, self.handle)
        self._library.set_engine(self.handle, *engine_times_ns(adapter))
        self.calls: native.Calls = self._library.intake_calls().contents
        self._batch = (native.Event * BATCH)()
        self._closing: dict[int, Flight] = {}  # by generation: those that closed the gate lately
        self.stats: native.IntakeStats = self._library.intake_stats(self.handle).contents

    def close(self) -> None:
        """Nothing more is told; what was told can still be read."""
        os.close(self.notice_fd)

    def _operation(self, method: int, method_len: int, path: int, path_len: int, upgrade: bool) -> int:
        method_text, path_text = native.text(method, method_len), native.text(path, path_len)
        inference = self.adapter.is_inference(method_text, path_text, upgrade=upgrade)
        return operation_number(path_text) if inference else 0

    def latencies(self) -> State:
        """As telemetry.Counters'."""
        return read_latencies(self._library.intake_latencies(self.handle), self.adapter.name)

    def newest(self) -> Record:
        """As front.Front's, whatever is in flight."""
        stats = self.stats
        version, readable_ns = stats.newest_version, stats.newest_readable_ns
        trace = trace_of(stats.newest_trace_high, stats.newest_trace_low, stats.newest_span)
        if not version or version % 2 or version != stats.newest_version:  # another has come
            return {}
        return {"readable_ns": readable_ns} | (trace.ids if trace else {})

    # ---- the log ----

    def add(self, record: Record) -> None:
        """As events.EventLog's."""
        text = orjson.dumps(record)
        if len(text) > native.MADE_MAX:  # a client may have named its request in characters that grow in JSON
            text = orjson.dumps(record | {"request_id": ""})
        self._library.log_add(self.handle, record["t_ns"], text, len(text))

    def since(self, start: int, limit: int) -> Record:
        """As events.EventLog's."""
        start, events = max(start, 0), list[Record]()
        _, following = self._read(start, ALL_KINDS, 0)  # inside what there is, even if nothing is asked for
        while len(events) < limit:
            batch, following = self._read(following, ALL_KINDS, limit - len(events))
            if not batch:
                break
            events += [{"seq": event.number, "worker": self._worker} | self._format(event) for event in batch]
        first = events[0]["seq"] if events else following
        return {"events": events, "next": following, "dropped": max(0, first - start)}

    def _format(self, event: native.Event) -> Record:
        if event.kind == EventKind.MADE:
            return cast(Record, orjson.loads(event.made[: event.made_len]))
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

    def closings_since(self, start: int) -> tuple[list[Flight], int]:
        """What closed the gate from number `start` on, and where to go on."""
        found: list[Flight] = []
        while True:
            batch, start = self._read(start, CLOSES, BATCH)
            found += [flight_of(event, self.adapter.name) for event in batch]
            if len(batch) < BATCH:
                return found, start

    def _read(self, start: int, kinds: int, limit: int) -> tuple[list[native.Event], int]:
        """Good until the next call: at most BATCH events, in the one place that there is for them."""
        most, following = min(limit, BATCH), ctypes.c_uint64()
        count = self._library.log_read(self.handle, start, kinds, self._batch, most, ctypes.byref(following))
        return self._batch[:count], following.value


def engine_times_ns(adapter: Adapter) -> tuple[int, int]:
    """What vlv_intake_set_engine() is told."""
    return int(adapter.guard_s * 1e9), int(adapter.ask_again_s * 1e9)


def format_event(event: native.Event) -> Record:
    """As docs/events.md has it; of those that are no requests and not made already."""
    record = {"kind": KIND_NAMES[event.kind], "t_ns": event.t_ns}
    if event.kind != EventKind.LAPSE:
        record["generation"] = event.generation
    if event.kind == EventKind.CLOSE:
        record["request_id"] = text(event.request_id, event.request_id_len)
        if not event.request_id_len:
            record["due_ns"] = event.readable_ns
    if event.kind == EventKind.OPEN and event.readable_ns:
        record["slice_until_ns"] = event.readable_ns
    return record


def flight_of(event: native.Event, engine: str) -> Flight:
    """Of a closing or an ended request: what the thread noted of it."""
    return Flight(
        text(event.request_id, event.request_id_len),
        text(event.path, event.path_len),
        None,
        event.readable_ns,
        bool(event.upgrade),
        event.arrival_ns,
        event.gate_ns,
        event.generation,
        bool(event.closed_gate),
        closes_seen=event.closes_seen,
        slices_seen=event.slices_seen,
        first_token_ns=event.first_token_ns,
        last_token_ns=event.last_token_ns,
        max_gap_ns=event.max_gap_ns,
        finished_ns=event.finished_ns,
        tokens=event.tokens,
        trace=trace_of(event.trace_high, event.trace_low, event.span, event.parent),
        answer=answer_of(event),
        engine=engine,
        status=event.status,
        outcome=native.OUTCOMES[event.outcome],
    )


def answer_of(event: native.Event) -> Answer:
    reasons = text(event.finish_reasons, event.finish_reasons_len)
    return Answer(
        text(event.model, event.model_len),
        text(event.response_id, event.response_id_len),
        tuple(reasons.split(",")) if reasons else (),
        event.input_tokens,
        bool(event.streamed),
    )


def text(raw: bytes, size: int) -> str:
    """Behind it there may be the rest of another one."""
    return raw[:size].decode(errors="replace")


def trace_of(high: int, low: int, span: int, parent: int = 0) -> TraceContext | None:
    if not span:
        return None
    return TraceContext(f"{high:016x}{low:016x}", f"{span:016x}", f"{parent:016x}" if parent else "")
