"""The node segment: typed views of its rows, and the handles through which a holder or a tenant takes part.

native/include/valve/node.h is the manual; stamps are CLOCK_MONOTONIC ns, as time.monotonic_ns() gives them.
"""

from __future__ import annotations

import ctypes
import os
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn, Self, TypeVar

from . import native
from .device_id import device_bytes, device_name
from .errors import SegmentError
from .segment_fault import open_error, register_error

MECHANISMS = ("none", "freezer_cgroup", "freezer_signal", "launch", "channels")
STATES = ("running", "stopping", "stopped", "breathing")
LEVELS = ("running", "submission_stopped", "compute_halted")
KINDS = ("", "stopped", "resumed", "breather")
TOKENS_MINOR = 1  # of the layout: rows tell their engine's tokens since then

Row = TypeVar("Row", native.HolderRow, native.TenantRow)


class Side(Enum):
    """Which of the two files is written: a holder's process writes `holders`, a tenant's `tenants`."""

    HOLDER = 1
    TENANT = 2
    OBSERVER = 3


@dataclass(frozen=True, slots=True)
class HolderView:
    """A holder's row at one moment. `lease_remaining_ms` is negative once the lease ran out; `layout` is what
    its owner writes, as native.LAYOUT is what we do.
    """

    row: int
    pid: int
    alive: bool
    name: str
    closed: bool
    in_flight: int
    devices: tuple[str, ...]
    lease_remaining_ms: float
    closed_since_ns: int
    closes: int
    lapses: int
    layout: str


@dataclass(frozen=True, slots=True)
class TenantView:
    """A tenant's row at one moment. `acknowledgements`: how many it ever wrote. `max_stopped_ns`: 0 = it may
    stay stopped for ever; else it breathes, which `breathers` counts. `tokens` (generated) and `input_tokens`
    are what its engine's own metrics tell; None: unknown. `runner_pid` is 0 but for a rank, a GPU process of
    the `valve run` with that pid; what follows it is told by the shim in there.
    """

    row: int
    pid: int
    alive: bool
    job: str
    rank: int
    devices: tuple[str, ...]
    mechanism: str
    state: str
    ack_generation: int
    ack_level: str
    ack_ns: int
    acknowledgements: int
    stops: int
    slow_stops: int
    foreign_resumes: int
    escalations: int
    errors: int
    max_stopped_ns: int
    breathers: int
    processes: int
    unstopped_threads: int
    tokens: int | None
    input_tokens: int | None
    runner_pid: int
    channels: int
    refusals: int
    unknown: int
    held: int
    layout: str


@dataclass(frozen=True, slots=True)
class Ack:
    """One change of a tenant between stopped and running, as its agent acknowledged it. `kind` "breather": it
    was let run although the gate is closed.
    """

    generation: int
    kind: str
    level: str
    woken_ns: int
    done_ns: int


class Node:
    """The mapped segment of one runtime directory. As context manager it closes itself."""

    def __init__(self, directory: Path, handle: ctypes.c_void_p) -> None:
        self.directory = directory
        self.handle: ctypes.c_void_p | None = handle
        self._library = native.library()
        self._holders_file = self._library.node_holders(handle).contents
        self._tenants_file = self._library.node_tenants(handle).contents
        self._registered: list[Holder | Tenant] = []

    @classmethod
    def open(cls, directory: Path | str, side: Side) -> Self:
        """Maps the segment; every side but OBSERVER makes its files if absent. Raises SegmentError."""
        handle = ctypes.c_void_p()
        error = native.library().node_open(os.fsencode(directory), side.value, ctypes.byref(handle))
        if error < 0:
            raise open_error(Path(directory), -error)
        return cls(Path(directory), handle)

    def close(self) -> None:
        """Releases holders and tenants of this node, then unmaps. Views stay valid: they are copies."""
        for each in list(self._registered):
            each.release()
        if self.handle is not None:
            del self._holders_file, self._tenants_file
            self._library.node_close(self.handle)
            self.handle = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def generation(self) -> int:
        """The gate's generation: changes whenever any holder's claim does; 32 bits, wraps."""
        self.opened()
        return int(self._holders_file.generation)

    def holders(self) -> list[HolderView]:
        """Every row that has an owner, dead owners included."""
        self.opened()
        return [self._holder_view(i, row) for i, row in _owned(self._holders_file.rows)]

    def tenants(self) -> list[TenantView]:
        """Every row that has an owner, dead owners included."""
        self.opened()
        return [self._tenant_view(i, row) for i, row in _owned(self._tenants_file.rows)]

    def acknowledgements(self, row: int, since: int) -> tuple[list[Ack], int, int]:
        """(those numbered `since` and later, the number to ask for next, how many were lost unread)."""
        entries, following = (native.AckEntry * native.ACK_RING)(), ctypes.c_uint64()
        count = self._library.tenant_acks(
            self.opened(), row, since, entries, native.ACK_RING, ctypes.byref(following)
        )
        if count < 0:
            raise SegmentError(f"{self.directory / 'tenants'} has no row {row}")
        dropped = max(0, following.value - since - count)
        return [_ack(entry) for entry in entries[:count]], following.value, dropped

    @property
    def removed(self) -> bool:
        """Whether somebody has removed a file of it: then those that come later make another segment."""
        return bool(self._library.node_is_removed(self.opened()))

    def opened(self) -> ctypes.c_void_p:
        """The handle. Raises SegmentError after close()."""
        if self.handle is None:
            raise SegmentError(f"the node segment in {self.directory} is closed")
        return self.handle

    def add(self, registered: Holder | Tenant) -> None:
        """Remembers what has to be released before the segment is unmapped."""
        self._registered.append(registered)

    def forget(self, registered: Holder | Tenant) -> None:
        """The opposite of `add`."""
        self._registered.remove(registered)

    def _holder_view(self, index: int, row: native.HolderRow) -> HolderView:
        return HolderView(
            row=index,
            pid=row.owner_pid,
            alive=self._library.holder_alive(self.opened(), index) == 1,
            name=_text(row.name),
            closed=row.closed != 0,
            in_flight=row.in_flight,
            devices=self._devices_of_mask(row.device_mask),
            lease_remaining_ms=(row.lease_expiry_ns - time.monotonic_ns()) / 1e6,
            closed_since_ns=row.closed_since_ns,
            closes=row.closes,
            lapses=row.lapses,
            layout=self._layout(row),
        )

    def _tenant_view(self, index: int, row: native.TenantRow) -> TenantView:
        return TenantView(
            row=index,
            pid=row.owner_pid,
            alive=self._library.tenant_alive(self.opened(), index) == 1,
            job=_text(row.job),
            rank=row.rank,
            devices=_device_names(row.devices[: min(row.device_count, native.TENANT_DEVICES_MAX)]),
            mechanism=_name(MECHANISMS, row.mechanism),
            state=_name(STATES, row.state),
            ack_generation=row.ack_generation,
            ack_level=_name(LEVELS, row.ack_level),
            ack_ns=row.ack_ns,
            acknowledgements=row.ack_head,
            stops=row.stops,
            slow_stops=row.slow_stops,
            foreign_resumes=row.foreign_resumes,
            escalations=row.escalations,
            errors=row.errors,
            max_stopped_ns=row.max_stopped_ns,
            breathers=row.breathers,
            processes=row.processes,
            unstopped_threads=row.unstopped_threads,
            tokens=row.tokens if self._tells_tokens(row) else None,
            input_tokens=row.input_tokens if self._tells_tokens(row) else None,
            runner_pid=row.runner_pid,
            channels=row.channels,
            refusals=row.refusals,
            unknown=row.unknown,
            held=row.held,
            layout=self._layout(row),
        )

    def _layout(self, row: native.HolderRow | native.TenantRow) -> str:
        return f"{native.LAYOUT_VERSION}.{self._minor(row)}"

    def _minor(self, row: native.HolderRow | native.TenantRow) -> int:
        return int(self._library.row_minor(row.owner_pid, row.speaks))

    def _tells_tokens(self, row: native.TenantRow) -> bool:
        """An older owner leaves there what the row's last one said."""
        return self._minor(row) >= TOKENS_MINOR and row.tokens_at_ns > 0

    def _devices_of_mask(self, mask: int) -> tuple[str, ...]:
        known = self._holders_file.devices[: min(self._holders_file.device_count, native.DEVICES_MAX)]
        return _device_names(device for bit, device in enumerate(known) if mask >> bit & 1)


class Holder:
    """Our row in `holders`. `close_gate()` and `open_gate()` return the generation now in force."""

    close_gate: Callable[[], int]
    open_gate: Callable[[], int]

    def __init__(self, node: Node, handle: ctypes.c_void_p) -> None:
        self._node, self.handle = node, handle
        self._library = library = native.library()
        self.row: int = library.holder_row_index(handle)
        self.close_gate = partial(library.gate_close, handle)  # on every request's way: nothing in between
        self.open_gate = partial(library.gate_open, handle)
        self._released = False
        node.add(self)

    @classmethod
    def register(cls, node: Node, name: str, devices: Sequence[str]) -> Self:
        """Takes a free row, open, with a fresh lease. Raises SegmentFullError, SegmentError, DeviceError."""
        handle, ids = ctypes.c_void_p(), _device_array(devices)
        error = native.library().holder_register(
            node.opened(), name.encode(errors="replace"), ids, len(devices), ctypes.byref(handle)
        )
        if error < 0:
            raise register_error(node.directory / "holders", -error)
        return cls(node, handle)

    def renew(self) -> bool:
        """Extends the lease. True: it had lapsed, so the claim was dropped to open."""
        return bool(self._library.holder_renew(self._live()) > 0)

    def set_in_flight(self, count: int) -> None:
        """For people to look at; nothing depends on it."""
        self._library.holder_set_in_flight(self._live(), count)

    def release(self) -> None:
        """Opens the gate as far as we are concerned and gives the row up. Calling it again does nothing."""
        if self._released:
            return
        self._released = True
        self.close_gate = self.open_gate = partial(_raise_released, "holder")
        self._library.holder_release(self.handle)
        self._node.forget(self)

    def _live(self) -> ctypes.c_void_p:
        return _raise_released("holder") if self._released else self.handle


class Tenant:
    """Our row in `tenants`; an agent is started on its `handle`."""

    def __init__(self, node: Node, handle: ctypes.c_void_p) -> None:
        self._node, self.handle = node, handle
        self._library = native.library()
        self.row: int = self._library.tenant_row_index(handle)
        self._released = False
        node.add(self)

    @classmethod
    def register(cls, node: Node, job: str, rank: int, devices: Sequence[str]) -> Self:
        """Takes a free row. Raises SegmentFullError, SegmentError, DeviceError."""
        handle, ids = ctypes.c_void_p(), _device_array(devices)
        error = native.library().tenant_register(
            node.opened(), job.encode(errors="replace"), rank, ids, len(devices), ctypes.byref(handle)
        )
        if error < 0:
            raise register_error(node.directory / "tenants", -error)
        return cls(node, handle)

    def set_max_stopped(self, max_stopped_ns: int) -> None:
        """How long it may stay stopped before it is let run for a moment all the same; 0 = for ever. To be
        called before its agent is started.
        """
        if self._released:
            _raise_released("tenant")
        self._library.tenant_set_max_stopped(self.handle, max_stopped_ns)

    def set_tokens(self, tokens: int, input_tokens: int) -> None:
        """What the job has computed since it began. Any thread may tell it."""
        if self._released:
            _raise_released("tenant")
        self._library.tenant_set_tokens(self.handle, tokens, input_tokens)

    def gate_is_closed(self) -> bool:
        """What the rule says for this tenant now."""
        if self._released:
            _raise_released("tenant")
        return bool(self._library.gate_is_closed(self.handle, time.monotonic_ns(), None))

    def release(self) -> None:
        """Gives the row up; its agent, if any, must have been stopped. Calling it again does nothing."""
        if self._released:
            return
        self._released = True
        self._library.tenant_release(self.handle)
        self._node.forget(self)


def record_of(view: HolderView | TenantView) -> dict[str, Any]:
    """As dataclasses.asdict(), which takes many times as long: it copies every value."""
    return {name: getattr(view, name) for name in view.__slots__}


def _raise_released(what: str) -> NoReturn:
    raise SegmentError(f"this {what} has been released: register again")


def _owned(rows: ctypes.Array[Row]) -> Iterable[tuple[int, Row]]:
    """Copies of the rows that have an owner: what is decoded does not change meanwhile."""
    kind: Any = rows._type_
    words = (ctypes.c_uint64 * (ctypes.sizeof(rows) // 8)).from_address(ctypes.addressof(rows))
    pids = words[kind.owner_pid.offset // 8 :: ctypes.sizeof(kind) // 8]  # one look: most are 0
    for index in (index for index, pid in enumerate(pids) if pid):
        row = kind.from_buffer_copy(rows[index])
        if row.owner_pid:
            yield index, row


def _ack(entry: native.AckEntry) -> Ack:
    return Ack(
        generation=entry.generation,
        kind=_name(KINDS, entry.kind),
        level=_name(LEVELS, entry.level),
        woken_ns=entry.woken_ns,
        done_ns=entry.done_ns,
    )


def _name(names: tuple[str, ...], number: int) -> str:
    return names[number] if number < len(names) else f"unknown_{number}"


def _text(raw: bytes) -> str:
    """A name of the other side, safe to print."""
    return "".join(
        c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in raw.decode(errors="replace")
    )


def _device_names(ids: Iterable[native.DeviceId]) -> tuple[str, ...]:
    return tuple(device_name(bytes(each.bytes)) for each in ids)


def _device_array(devices: Sequence[str]) -> ctypes.Array[native.DeviceId]:
    """Raises DeviceError."""
    array = (native.DeviceId * len(devices))()
    for each, text in zip(array, devices, strict=True):
        each.bytes[:] = device_bytes(text)
    return array
