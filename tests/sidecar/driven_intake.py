"""A native intake that is told what a data plane would tell it."""

from __future__ import annotations

import ctypes
import time

from valve_adapters.registry import by_name
from valve_sidecar import native
from valve_sidecar.budget import Goal
from valve_sidecar.config import Mode
from valve_sidecar.flight import Outcome
from valve_sidecar.native_intake import NativeIntake

EVENT = b'data: {"choices":[{"index":0,"delta":{"content":"x"}}]}\n\n'


class Asked:
    """An adapter that takes down what it is asked."""

    name = "asked"
    keepalive_s = 5.0
    guard_s = 3600.0
    ask_again_s = 7.0

    def __init__(self) -> None:
        self.questions: list[tuple[str, str, bool]] = []

    def is_inference(self, method: str, path: str, *, upgrade: bool) -> bool:
        self.questions.append((method, path, upgrade))
        return by_name("openai").is_inference(method, path, upgrade=upgrade)


class Driver:
    """Calls the intake as the data plane does."""

    def __init__(
        self, mode: Mode = Mode.ENFORCE, goal: Goal | None = None, trace_share: float | None = None
    ) -> None:
        self.adapter = Asked()
        self.intake = NativeIntake(
            self.adapter,  # type: ignore[arg-type]
            mode,
            0,
            goal,
            measures_arrivals=True,
            trace_share=trace_share,
            worker=3,
        )
        self.calls = self.intake.calls

    def arrive(
        self,
        method: str,
        path: str,
        request_id: str = "",
        traceparent: str = "",
        *,
        body_len: int = 0,
        upgrade: bool = False,
    ) -> int | None:
        told_texts = (method, path, request_id, traceparent)
        texts = [ctypes.create_string_buffer(text.encode()) for text in told_texts]
        told = native.Request(
            *(ctypes.addressof(text) for text in texts),
            *(len(text) - 1 for text in texts),
            time.monotonic_ns(),
            body_len,
            upgrade,
        )
        flight: int | None = self.calls.arrive(self.intake.handle, ctypes.byref(told))
        return flight

    def progress(self, flight: int, data: bytes) -> None:
        self.calls.progress(self.intake.handle, flight, ctypes.cast(data, ctypes.c_void_p), len(data))

    def finish(self, flight: int, outcome: Outcome, status: int = 200) -> None:
        self.calls.finish(self.intake.handle, flight, native.OUTCOMES.index(outcome), status)

    def traceparent(self, flight: int) -> str:
        """What the engine is sent; empty: the client's."""
        out = ctypes.create_string_buffer(55)
        told = self.calls.traceparent(self.intake.handle, flight, ctypes.addressof(out))
        return out.raw.decode() if told else ""

    def tick(self, after_s: float = 0.0) -> int:
        """`after_s`: pretends that so much time has passed."""
        return int(self.calls.tick(self.intake.handle, time.monotonic_ns() + int(after_s * 1e9)))

    def hold_back(self, flight: int, *, held: bool) -> None:
        self.calls.hold_back(self.intake.handle, flight, held)

    def tick_until_a_slice(self, flight: int) -> None:
        end_s = time.monotonic() + 20.0
        while not self.intake.stats.slice_until_ns:
            assert time.monotonic() < end_s
            self.progress(flight, EVENT)  # there has to be one in each period
            self.tick()

    @property
    def gate(self) -> str:
        return native.STATES[self.intake.stats.state]

    def events(self, kind: str) -> list[dict[str, object]]:
        return [event for event in self.intake.since(0, 10_000)["events"] if event["kind"] == kind]
