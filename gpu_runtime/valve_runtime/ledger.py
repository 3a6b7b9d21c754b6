"""The ledger of a device's KV pages: typed views of it, and the one number that a policy sets.

native/include/valve/ledger.h is the manual. A page is 2 MiB.
"""

from __future__ import annotations

import ctypes
import errno
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from . import native
from .device_id import device_bytes, device_name
from .errors import SegmentError, SegmentFullError
from .segment_fault import open_error

PAGE_BYTES = native.PAGE_BYTES
ROLES = ("", "online", "tenant")

_FILE_NAME = re.compile(r"pages\.([0-9a-f]{32})")


@dataclass(frozen=True, slots=True)
class PartyView:
    """One pool at one moment. `arriving`: pages handed to it that it has not accepted yet. Counters:
    `reclaims` and `reclaimed` (times and pages that it had to give back), `stops` (of its channels for a
    remap while its gate was open), `received` and `made` (pages by where their memory came from), `errors`.
    `reclaim_ns`, `stopped_ns`: how long its last reclaim took; `reclaimed_at_ns`: when that was over.
    """

    row: int
    pid: int
    alive: bool
    role: str
    name: str
    pool_pages: int
    leased: int
    arriving: int
    reclaims: int
    reclaimed: int
    stops: int
    received: int
    made: int
    errors: int
    reclaim_ns: int
    stopped_ns: int
    reclaimed_at_ns: int


@dataclass(frozen=True, slots=True)
class LedgerView:
    """Pages by owner at about one moment. `reserved` is the online side's share of `limit`, used or not;
    `online` and `tenants` count what is on its way (`in_transit`) for the receiver; `free` has no memory.
    """

    device: str
    limit: int
    reserved: int
    wanted: int
    free: int
    online: int
    tenants: int
    in_transit: int
    parties: tuple[PartyView, ...]


class Ledger:
    """The mapped ledger of one device. As context manager it closes itself."""

    def __init__(self, device: str, handle: ctypes.c_void_p) -> None:
        self.device = device
        self.handle: ctypes.c_void_p | None = handle
        self._library = native.library()
        self._file = self._library.ledger_file(handle).contents

    @classmethod
    def open(cls, directory: Path | str, device: str, *, observe: bool = False) -> Self:
        """`device`: "GPU-...". Makes the ledger if it is absent, unless `observe`. Raises SegmentError."""
        handle = ctypes.c_void_p()
        raw = native.DeviceId.from_buffer_copy(device_bytes(device))
        error = native.library().ledger_open(os.fsencode(directory), raw, observe, ctypes.byref(handle))
        if error < 0:
            raise open_error(Path(directory), -error)
        return cls(device, handle)

    def close(self) -> None:
        """Views stay valid: they are copies."""
        if self.handle is not None:
            del self._file
            self._library.ledger_close(self.handle)
            self.handle = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def set_reserved(self, pages: int) -> None:
        """The online side's share from now on. What tenants hold beyond the rest they give back at once."""
        self._check(self._library.ledger_set_reserved(self.handle, pages))

    def set_wanted(self, pages: int) -> None:
        """What the online engine asks for; it informs, and decides nothing."""
        self._check(self._library.ledger_set_wanted(self.handle, pages))

    @property
    def changes(self) -> int:
        """To be read before what is waited for is looked at."""
        return int(self._library.ledger_changes(self.handle))

    def wait(self, changes: int, deadline_ns: int) -> None:
        """While nothing has changed since `changes`, until CLOCK_MONOTONIC reaches the deadline at most."""
        self._library.ledger_wait(self.handle, changes, deadline_ns)

    def sweep(self) -> int:
        """Frees the pages of dead parties. How many."""
        return int(self._library.ledger_sweep(self.handle))

    def read(self) -> LedgerView:
        """Every party that has a row is in it, dead ones included."""
        counts = native.PageCounts()
        self._library.ledger_count(self.handle, ctypes.byref(counts))
        return LedgerView(
            self.device,
            counts.limit,
            counts.reserved,
            counts.wanted,
            counts.free,
            counts.online,
            counts.tenants,
            counts.in_transit,
            tuple(self._parties(counts)),
        )

    def _parties(self, counts: native.PageCounts) -> Iterator[PartyView]:
        for index, row in enumerate(self._file.rows):
            if row.owner_pid:
                yield self._party(index, row, counts)

    def _party(self, index: int, row: native.PartyRow, counts: native.PageCounts) -> PartyView:
        return PartyView(
            index,
            row.owner_pid,
            self._library.party_alive(self.handle, index) == 1,
            ROLES[row.role] if row.role < len(ROLES) else "",
            row.name.decode(errors="replace"),
            row.pool_pages,
            counts.leased[index],
            counts.arriving[index],
            *(getattr(row, name) for name in _COUNTERS),
        )

    def _check(self, code: int) -> None:
        if code < 0:
            raise SegmentError(f"the ledger of {self.device} was opened to be read only")


_COUNTERS = (  # `reclaims` first: the pool stores it last
    "reclaims",
    "reclaimed",
    "stops",
    "received",
    "made",
    "errors",
    "reclaim_ns",
    "stopped_ns",
    "reclaimed_at_ns",
)


class Party:
    """A pool's row, for programs and tests without a GPU: it leases pages that have no memory."""

    def __init__(self, ledger: Ledger, handle: ctypes.c_void_p) -> None:
        self._library, self._handle = native.library(), handle
        self.row = int(self._library.party_row_index(handle))
        self._ledger = ledger

    @classmethod
    def register(cls, ledger: Ledger, role: str, name: str, pool_pages: int, start_pages: int = 0) -> Self:
        """Raises SegmentError; SegmentFullError if there is no free row."""
        handle = ctypes.c_void_p()
        error = native.library().party_register(
            ledger.handle, ROLES.index(role), name.encode(), pool_pages, start_pages, ctypes.byref(handle)
        )
        if error == -errno.ENOSPC:
            raise SegmentFullError(f"no free row in the ledger of {ledger.device}: stop some of its jobs")
        if error < 0:
            raise SegmentError(f"cannot register in the ledger of {ledger.device}: {os.strerror(-error)}")
        return cls(ledger, handle)

    def lease(self, pages: int) -> list[int]:
        """Up to that many page numbers, as the shares permit."""
        numbers: Any = (ctypes.c_uint32 * pages)()
        return list(numbers[: self._library.page_lease(self._handle, pages, numbers)])

    def release(self) -> None:
        """Frees what it leased, and its row."""
        self._library.party_release(self._handle)


def ledger_path(directory: Path | str, device: str) -> Path:
    return Path(directory) / f"pages.{device_bytes(device).hex()}"


def ledgers(directory: Path | str) -> list[str]:
    """The devices that have a ledger in the runtime directory, by name."""
    found = (_FILE_NAME.fullmatch(path.name) for path in Path(directory).glob("pages.*"))
    return sorted(device_name(bytes.fromhex(match[1])) for match in found if match)
