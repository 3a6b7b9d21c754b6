"""The one ctypes file: finds libvalve.so, checks that it has our layout, and binds its functions.

PyDLL (keeps the interpreter's lock) for calls that are over in microseconds, CDLL (lets it go) for those that
wait. The headers in native/include/valve are the manual.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from ctypes import (
    POINTER,
    Structure,
    c_bool,
    c_char,
    c_char_p,
    c_int,
    c_int64,
    c_uint8,
    c_uint16,
    c_uint32,
    c_uint64,
    c_void_p,
)
from functools import lru_cache
from pathlib import Path
from typing import Any

import valve_runtime

from .errors import SegmentError

HOLDERS_MAX = 64
TENANTS_MAX = 256
DEVICES_MAX = 64
TENANT_DEVICES_MAX = 32
ACK_RING = 64
NAME_SIZE = 48
LAYOUT_VERSION, LAYOUT_MINOR = 2, 1
LAYOUT = f"{LAYOUT_VERSION}.{LAYOUT_MINOR}"
HOLDERS_MAGIC = 0x31444C4845564C56
TENANTS_MAGIC = 0x31544E5445564C56
PAGES_MAGIC = 0x3153475045564C56
PAGES_MAX = 131072
PAGE_BYTES = 2 << 20
PARTIES_MAX = 64

LIBRARY_NAME = "libvalve.so"


class DeviceId(Structure):
    _fields_ = (("bytes", c_uint8 * 16),)


class Header(Structure):
    _fields_ = (
        ("magic", c_uint64),
        ("layout_version", c_uint32),
        ("file_size", c_uint32),
        ("boot_id", c_uint8 * 16),
        ("monotonic_offset_ns", c_int64),
        ("layout_minor", c_uint32),
        ("reserved", c_uint8 * 20),
    )


class HolderRow(Structure):
    _fields_ = (
        ("owner_pid", c_uint64),
        ("device_mask", c_uint64),
        ("lease_expiry_ns", c_uint64),
        ("closed", c_uint32),
        ("in_flight", c_uint32),
        ("closed_since_ns", c_uint64),
        ("closes", c_uint64),
        ("lapses", c_uint64),
        ("name", c_char * NAME_SIZE),
        ("speaks", c_uint64),
        ("reserved", c_uint8 * 80),
    )


class HoldersFile(Structure):
    _fields_ = (
        ("header", Header),
        ("generation", c_uint32),
        ("_pad", c_uint8 * 60),
        ("device_count", c_uint32),
        ("devices", DeviceId * DEVICES_MAX),
        ("_pad2", c_uint8 * 60),
        ("rows", HolderRow * HOLDERS_MAX),
    )


class AckEntry(Structure):
    _fields_ = (
        ("generation", c_uint32),
        ("kind", c_uint16),
        ("level", c_uint16),
        ("woken_ns", c_uint64),
        ("done_ns", c_uint64),
    )


class TenantRow(Structure):
    _fields_ = (
        ("owner_pid", c_uint64),
        ("owner_start_ticks", c_uint64),
        ("job", c_char * NAME_SIZE),
        ("rank", c_uint32),
        ("device_count", c_uint32),
        ("devices", DeviceId * TENANT_DEVICES_MAX),
        ("mechanism", c_uint32),
        ("state", c_uint32),
        ("ack_generation", c_uint32),
        ("ack_level", c_uint32),
        ("ack_ns", c_uint64),
        ("unstopped_threads", c_uint32),
        ("processes", c_uint32),
        ("stops", c_uint64),
        ("slow_stops", c_uint64),
        ("foreign_resumes", c_uint64),
        ("escalations", c_uint64),
        ("errors", c_uint64),
        ("ack_head", c_uint64),
        ("acks", AckEntry * ACK_RING),
        ("runner_pid", c_uint64),
        ("channels", c_uint64),
        ("refusals", c_uint64),
        ("unknown", c_uint64),
        ("held", c_uint64),
        ("max_stopped_ns", c_uint64),
        ("breathers", c_uint64),
        ("breathes_until_ns", c_uint64),
        ("speaks", c_uint64),
        ("tokens", c_uint64),
        ("input_tokens", c_uint64),
        ("tokens_at_ns", c_uint64),
        ("reserved", c_uint8 * 8),
    )


class TenantsFile(Structure):
    _fields_ = (("header", Header), ("rows", TenantRow * TENANTS_MAX))


class PartyRow(Structure):
    _fields_ = (
        ("owner_pid", c_uint64),
        ("role", c_uint32),
        ("pool_pages", c_uint32),
        ("reclaims", c_uint64),
        ("reclaimed", c_uint64),
        ("stops", c_uint64),
        ("received", c_uint64),
        ("made", c_uint64),
        ("errors", c_uint64),
        ("reclaim_ns", c_uint64),
        ("stopped_ns", c_uint64),
        ("name", c_char * NAME_SIZE),
        ("reclaimed_at_ns", c_uint64),
        ("rest", c_uint8 * 56),
    )


class PagesFile(Structure):
    _fields_ = (
        ("header", Header),
        ("changes", c_uint32),
        ("_pad", c_uint8 * 60),
        ("limit", c_uint32),
        ("reserved", c_uint32),
        ("wanted", c_uint32),
        ("_pad2", c_uint8 * 52),
        ("rows", PartyRow * PARTIES_MAX),
        ("pages", c_uint64 * PAGES_MAX),
    )


class PageCounts(Structure):
    _fields_ = (
        ("limit", c_uint32),
        ("reserved", c_uint32),
        ("wanted", c_uint32),
        ("free", c_uint32),
        ("online", c_uint32),
        ("tenants", c_uint32),
        ("in_transit", c_uint32),
        ("leased", c_uint32 * PARTIES_MAX),
        ("arriving", c_uint32 * PARTIES_MAX),
    )


class PoolHead(Structure):
    _fields_ = (
        ("magic", c_uint64),
        ("version", c_uint32),
        ("page_bytes", c_uint32),
        ("pages", c_uint32),
        ("_rest", c_uint8 * 44),
        ("epoch", c_uint32),
        ("seen", c_uint32),
        ("wanted", c_uint32),
        ("_rest1", c_uint32),
        ("told_ns", c_uint64),
        ("_rest2", c_uint8 * 40),
    )


class LayoutEntry(Structure):
    _fields_ = (("name", c_char_p), ("offset", c_uint32), ("size", c_uint32))


STRUCTURES: dict[str, type[Structure]] = {
    "vlv_header": Header,
    "vlv_holder_row": HolderRow,
    "vlv_holders_file": HoldersFile,
    "vlv_ack": AckEntry,
    "vlv_tenant_row": TenantRow,
    "vlv_tenants_file": TenantsFile,
    "vlv_party_row": PartyRow,
    "vlv_pages_file": PagesFile,
    "vlv_page_counts": PageCounts,
    "vlv_pool_head": PoolHead,
}

Handle = c_void_p
_HANDLE_OUT = POINTER(c_void_p)
_DEVICES = POINTER(DeviceId)


class Library:
    """libvalve.so with every function bound. All return 0 (or a documented value >= 0) or -errno."""

    def __init__(self, path: Path) -> None:
        """Raises SegmentError if the file cannot be loaded, lacks a function or has another layout."""
        self.path = path
        self._quick, self._waiting = self._load(ctypes.PyDLL), self._load(ctypes.CDLL)
        self._check_layout()
        self._bind_node()
        self._bind_holder()
        self._bind_tenant()
        self._bind_agent()
        self._bind_freezer()
        self._bind_job()
        self._bind_ledger()
        self._bind_pool_table()

    def _load(self, kind: type[ctypes.CDLL]) -> ctypes.CDLL:
        try:
            return kind(str(self.path))
        except OSError as error:
            raise SegmentError(f"cannot load {self.path}: {error}; run `make native`") from error

    def _bind(self, library: ctypes.CDLL, name: str, result: Any, *arguments: Any) -> Callable[..., Any]:
        try:
            function = library[name]
        except AttributeError:
            raise SegmentError(
                f"{self.path} lacks {name}: it is of another version; run `make native`"
            ) from None
        function.restype = result
        function.argtypes = arguments
        return function

    def _quickly(self, name: str, result: Any, *arguments: Any) -> Callable[..., Any]:
        return self._bind(self._quick, name, result, *arguments)

    def _waits(self, name: str, result: Any, *arguments: Any) -> Callable[..., Any]:
        return self._bind(self._waiting, name, result, *arguments)

    def _check_layout(self) -> None:
        count = c_uint32()
        entries = self._quickly("vlv_layout", POINTER(LayoutEntry), POINTER(c_uint32))(ctypes.byref(count))
        for entry in entries[: count.value]:
            name = entry.name.decode()
            if _ours(name) != (entry.offset, entry.size):
                raise SegmentError(f"{self.path} has another layout of {name}; run `make native`")

    def _bind_node(self) -> None:
        self.node_open = self._waits("vlv_node_open", c_int, c_char_p, c_int, _HANDLE_OUT)
        self.node_close = self._quickly("vlv_node_close", None, Handle)
        self.node_holders = self._quickly("vlv_node_holders", POINTER(HoldersFile), Handle)
        self.node_tenants = self._quickly("vlv_node_tenants", POINTER(TenantsFile), Handle)
        self.node_is_removed = self._quickly("vlv_node_is_removed", c_int, Handle)
        self.row_minor = self._quickly("vlv_row_minor", c_uint32, c_uint64, c_uint64)
        self.holder_alive = self._quickly("vlv_holder_alive", c_int, Handle, c_uint32)
        self.tenant_alive = self._quickly("vlv_tenant_alive", c_int, Handle, c_uint32)

    def _bind_holder(self) -> None:
        self.holder_register = self._waits(
            "vlv_holder_register", c_int, Handle, c_char_p, _DEVICES, c_uint32, _HANDLE_OUT
        )
        self.gate_close = self._quickly("vlv_gate_close", c_uint32, Handle)
        self.gate_open = self._quickly("vlv_gate_open", c_uint32, Handle)
        self.holder_renew = self._quickly("vlv_holder_renew", c_int, Handle)
        self.holder_set_in_flight = self._quickly("vlv_holder_set_in_flight", None, Handle, c_uint32)
        self.holder_row_index = self._quickly("vlv_holder_row_index", c_uint32, Handle)
        self.holder_release = self._quickly("vlv_holder_release", None, Handle)

    def _bind_tenant(self) -> None:
        self.tenant_register = self._waits(
            "vlv_tenant_register", c_int, Handle, c_char_p, c_uint32, _DEVICES, c_uint32, _HANDLE_OUT
        )
        self.tenant_row_index = self._quickly("vlv_tenant_row_index", c_uint32, Handle)
        self.tenant_set_max_stopped = self._quickly("vlv_tenant_set_max_stopped", None, Handle, c_uint64)
        self.tenant_set_tokens = self._quickly("vlv_tenant_set_tokens", None, Handle, c_uint64, c_uint64)
        self.tenant_release = self._quickly("vlv_tenant_release", None, Handle)
        self.tenant_acks = self._quickly(
            "vlv_tenant_acks",
            c_int,
            Handle,
            c_uint32,
            c_uint64,
            POINTER(AckEntry),
            c_uint32,
            POINTER(c_uint64),
        )
        self.gate_is_closed = self._quickly("vlv_gate_is_closed", c_bool, Handle, c_uint64, POINTER(c_uint64))

    def _bind_agent(self) -> None:
        """Handles: tenant, mechanism, context -> agent."""
        self.agent_start = self._quickly("vlv_agent_start", c_int, Handle, Handle, Handle, _HANDLE_OUT)
        self.agent_wait_ready = self._waits("vlv_agent_wait_ready", c_int, Handle, c_uint64)
        self.agent_stop = self._waits("vlv_agent_stop", None, Handle)

    def _bind_freezer(self) -> None:
        self.freezer_create = self._waits("vlv_freezer_create", c_int, c_char_p, c_int, c_int, _HANDLE_OUT)
        self.freezer_mechanism = self._quickly("vlv_freezer_mechanism", Handle)
        self.freezer_destroy = self._waits("vlv_freezer_destroy", None, Handle)
        self.tree_signal = self._waits("vlv_tree_signal", c_int, c_int, c_int, c_int)

    def _bind_job(self) -> None:
        """Handles: node, freezer, pid -> job."""
        self.job_create = self._quickly("vlv_job_create", c_int, Handle, Handle, c_int, _HANDLE_OUT)
        self.job_mechanism = self._quickly("vlv_job_mechanism", Handle)
        self.job_set_unshimmed = self._quickly("vlv_job_set_unshimmed", None, Handle, c_uint32)
        self.job_destroy = self._quickly("vlv_job_destroy", None, Handle)

    def _bind_ledger(self) -> None:
        self.ledger_open = self._waits("vlv_ledger_open", c_int, c_char_p, _DEVICES, c_bool, _HANDLE_OUT)
        self.ledger_close = self._quickly("vlv_ledger_close", None, Handle)
        self.ledger_file = self._quickly("vlv_ledger_file", POINTER(PagesFile), Handle)
        self.ledger_count = self._quickly("vlv_ledger_count", None, Handle, POINTER(PageCounts))
        self.ledger_set_reserved = self._quickly("vlv_ledger_set_reserved", c_int, Handle, c_uint32)
        self.ledger_set_wanted = self._quickly("vlv_ledger_set_wanted", c_int, Handle, c_uint32)
        self.ledger_changes = self._quickly("vlv_ledger_changes", c_uint32, Handle)
        self.ledger_wait = self._waits("vlv_ledger_wait", None, Handle, c_uint32, c_uint64)
        self.ledger_sweep = self._quickly("vlv_ledger_sweep", c_uint32, Handle)
        self.party_alive = self._quickly("vlv_party_alive", c_int, Handle, c_uint32)
        self.party_register = self._waits(
            "vlv_party_register", c_int, Handle, c_int, c_char_p, c_uint32, c_uint32, _HANDLE_OUT
        )
        self.party_row_index = self._quickly("vlv_party_row_index", c_uint32, Handle)
        self.party_release = self._quickly("vlv_party_release", None, Handle)
        self.page_lease = self._quickly("vlv_page_lease", c_uint32, Handle, c_uint32, POINTER(c_uint32))

    def _bind_pool_table(self) -> None:
        self.pool_table_make = self._waits("vlv_pool_table_make", c_int, c_char_p, c_uint32)


def _ours(name: str) -> tuple[int, int]:
    """(offset, size) of "struct" or "struct.field" here; (-1, -1) if there is no such thing."""
    structure, _, field = name.partition(".")
    ours = STRUCTURES.get(structure)
    if ours is None or (field and not hasattr(ours, field)):
        return -1, -1
    if not field:
        return 0, ctypes.sizeof(ours)
    return getattr(ours, field).offset, getattr(ours, field).size


def find_library() -> Path:
    """libvalve.so beside the package. An editable install has several such places. Raises SegmentError."""
    for folder in valve_runtime.__path__:
        path = Path(folder) / LIBRARY_NAME
        if path.is_file():
            return path
    places = " or ".join(valve_runtime.__path__)
    raise SegmentError(f"no {LIBRARY_NAME} in {places}: run `make native`")


@lru_cache(maxsize=1)
def library() -> Library:
    """The library, loaded once. Raises SegmentError with the mend."""
    return Library(find_library())
