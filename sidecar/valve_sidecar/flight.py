"""One inference request on its way through the sidecar: its stamps, and the narrow interface of a data
plane.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from valve_adapters.adapter import TokenCounter

from .answer import NO_ANSWER, Answer
from .budget import Account
from .trace import TraceContext


class Outcome(StrEnum):
    """How a flight ended."""

    COMPLETED = "completed"
    CLIENT_GONE = "client_gone"  # the engine may run on for a while
    UPSTREAM_FAILED = "upstream_failed"
    REFUSED = "refused"  # we answered ourselves (bad request, shutting down)


@dataclass(frozen=True, slots=True)
class Head:
    """A request's head, as the data plane parsed it."""

    method: str
    path: str  # without query
    headers: Mapping[str, str]  # case-insensitive look-up
    upgrade: bool
    readable_ns: int  # CLOCK_MONOTONIC when the bytes that completed the head reached us


@dataclass(slots=True, eq=False)
class Flight:
    """Stamps are CLOCK_MONOTONIC ns; 0 = has not happened."""

    request_id: str
    path: str
    counter: TokenCounter | None  # None once finished: it may hold a megabyte of unfinished stream
    readable_ns: int
    upgrade: bool = False  # a WebSocket: no prompt, no tokens that we could tell
    arrival_ns: int = 0  # head parsed and classified
    gate_ns: int = 0  # the gate had been signalled
    generation: int = 0  # of the gate after this arrival
    closed_gate: bool = False  # this arrival closed it
    closes_before: int = 0  # closes of the gate before this arrival
    closes_seen: int = 0  # closes during this flight, its own included: at most one while it is held
    slices_before: int = 0  # slices of the budget policy before this arrival
    slices_seen: int = 0
    others: int = 0  # in flight when it arrived
    held_back_ns: int = 0  # since when its client takes nothing
    account: Account = field(default_factory=Account)  # of the budget policy
    progress_ns: int = 0
    first_token_ns: int = 0
    last_token_ns: int = 0
    max_gap_ns: int = 0  # largest gap between two chunks with tokens
    max_decode_gap_ns: int = 0  # the same, without gaps in which the engine took in a prompt
    finished_ns: int = 0
    tokens: int = 0  # once finished
    prompt_bytes: int = 0  # of its body, bounded
    preemption_ns: int = 0  # readable to the last tenant halted, if this arrival closed the gate
    trace: TraceContext | None = None  # None: not traced
    answer_start: bytes = b""  # first and last bytes of the answer, until it is over
    answer_end: bytes = b""
    answer: Answer = NO_ANSWER  # once finished
    engine: str = ""  # the adapter's name; once finished
    status: int = 0
    outcome: Outcome | None = None

    @property
    def traceparent(self) -> bytes | None:
        """What a data plane sends to the engine in place of the client's; None: that goes on untouched."""
        return self.trace.traceparent.encode() if self.trace is not None else None


class Intake(Protocol):
    """What a data plane calls. None of these blocks, awaits or raises."""

    def arrive(self, head: Head) -> Flight | None:
        """A request's head is complete. The gate is closed when this returns. None: not inference, nothing
        to tell."""
        ...

    def progress(self, flight: Flight, data: bytes) -> None:
        """Body bytes of the response (or of either side after an upgrade) passed through."""
        ...

    def hold_back(self, flight: Flight, *, held: bool) -> None:
        """The client takes nothing, so that the engine is not read; or it takes again."""
        ...

    def finish(self, flight: Flight, outcome: Outcome, status: int) -> None:
        """The exchange is over, exactly once per flight. `status` 0: no response was sent."""
        ...

    def count_error(self, kind: str) -> None:
        """A proxy error by kind (upstream_unreachable, upstream_reset, bad_request, ...), for the metrics."""
        ...


class DataPlane(Protocol):
    """Carries requests between clients and the engine, and tells the intake."""

    async def start(self) -> None:
        """Listens. Raises ListenError (address in use, no permission)."""
        ...

    async def retire(self, patience_s: float) -> None:
        """Others listen on our sockets now: serves whoever is connected, each response saying that its
        connection ends with it, until nobody is connected or `patience_s` are over.
        """
        ...

    async def drain(self, grace_s: float) -> None:
        """As retire, but who says nothing for a moment is let go; after `grace_s` what is left is cut."""
        ...
