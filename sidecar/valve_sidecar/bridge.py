"""Lets the native data plane tell an intake in Python: one call into the interpreter for each thing told.

For tests and for intakes that are not native; the calls come on the plane's thread.
"""

from __future__ import annotations

import ctypes
import logging
from itertools import count
from typing import Any

from . import native
from .flight import Flight, Head, Intake

log = logging.getLogger(__name__)


class Bridge:
    """`calls` for the plane's options; it must outlive the plane."""

    def __init__(self, intake: Intake) -> None:
        self._intake = intake
        self._flights: dict[int, Flight] = {}
        self._numbers = count(1)
        self._kinds = native.error_kinds()
        self.calls = native.Calls(
            native.ARRIVE(self._arrive),
            native.PROGRESS(self._progress),
            native.FINISH(self._finish),
            native.COUNT_ERROR(self._count_error),
            traceparent=native.TRACEPARENT(self._traceparent),
        )
        self.handle = None

    def _arrive(self, _: Any, pointer: Any) -> int | None:
        told = pointer.contents
        known = {
            "X-Request-Id": native.text(told.request_id, told.request_id_len),
            "traceparent": native.text(told.traceparent, told.traceparent_len),
        }
        head = Head(
            native.text(told.method, told.method_len),
            native.text(told.path, told.path_len),
            {name: value for name, value in known.items() if value},
            told.upgrade,
            told.readable_ns,
        )
        flight = self._intake.arrive(head)
        if flight is None:
            return None
        number = next(self._numbers)
        self._flights[number] = flight
        return number

    def _progress(self, _: Any, number: int, data: int | None, size: int) -> None:
        self._intake.progress(self._flights[number], ctypes.string_at(data, size) if data else b"")

    def _finish(self, _: Any, number: int, outcome: int, status: int) -> None:
        self._intake.finish(self._flights.pop(number), native.OUTCOMES[outcome], status)

    def _traceparent(self, _: Any, number: int, out: int) -> bool:
        ours = self._flights[number].traceparent
        if ours is not None:
            ctypes.memmove(out, ours, len(ours))
        return ours is not None

    def _count_error(self, _: Any, kind: int) -> None:
        self._intake.count_error(self._kinds[kind])
