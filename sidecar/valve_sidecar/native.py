"""The ctypes of the native data plane: native/include/valve/plane.h and intake.h are the manual.

PyDLL (keeps the interpreter's lock) for calls that are over in microseconds, CDLL (lets it go) for those that
wait for the plane's thread, which may want that lock.
"""

from __future__ import annotations

import ctypes
from ctypes import (
    CFUNCTYPE,
    POINTER,
    Structure,
    c_bool,
    c_char_p,
    c_double,
    c_int,
    c_size_t,
    c_uint8,
    c_uint32,
    c_uint64,
    c_void_p,
)
from functools import lru_cache
from typing import Any

from valve_runtime.native import find_library

from .flight import Outcome

ADDRESSES_MAX = 8
OUTCOMES = (Outcome.COMPLETED, Outcome.CLIENT_GONE, Outcome.UPSTREAM_FAILED, Outcome.REFUSED)


class Request(Structure):
    _fields_ = (
        ("method", c_void_p),
        ("path", c_void_p),
        ("request_id", c_void_p),
        ("method_len", c_size_t),
        ("path_len", c_size_t),
        ("request_id_len", c_size_t),
        ("readable_ns", c_uint64),
        ("upgrade", c_bool),
    )


ARRIVE = CFUNCTYPE(c_void_p, c_void_p, POINTER(Request))
PROGRESS = CFUNCTYPE(None, c_void_p, c_void_p, c_void_p, c_size_t)
FINISH = CFUNCTYPE(None, c_void_p, c_void_p, c_int, c_int)
COUNT_ERROR = CFUNCTYPE(None, c_void_p, c_int)
TICK = CFUNCTYPE(c_uint64, c_void_p, c_uint64)


class Calls(Structure):
    _fields_ = (
        ("arrive", ARRIVE),
        ("progress", PROGRESS),
        ("finish", FINISH),
        ("count_error", COUNT_ERROR),
        ("tick", TICK),
    )


class SocketAddress(Structure):
    _fields_ = (("bytes", c_uint8 * 128),)


class PlaneOptions(Structure):
    _fields_ = (
        ("listeners", POINTER(c_int)),
        ("listener_count", c_size_t),
        ("engine", c_char_p),
        ("authority", c_char_p),
        ("keepalive_s", c_double),
        ("connect_timeout_s", c_double),
        ("calls", POINTER(Calls)),
        ("intake", c_void_p),
    )


class Library:
    """libvalve.so with the data plane's functions bound."""

    def __init__(self) -> None:
        """Raises SegmentError if there is no library."""
        path = str(find_library())
        quick, waiting = ctypes.PyDLL(path), ctypes.CDLL(path)
        self.error_name = _bind(quick.vlv_error_name, c_char_p, c_int)
        self.plane_create = _bind(quick.vlv_plane_create, c_void_p, POINTER(PlaneOptions))
        self.plane_set_engine = _bind(
            quick.vlv_plane_set_engine, None, c_void_p, POINTER(SocketAddress), POINTER(c_uint32), c_size_t
        )
        self.plane_start = _bind(quick.vlv_plane_start, c_int, c_void_p)
        self.plane_drain = _bind(quick.vlv_plane_drain, None, c_void_p, c_int)
        self.plane_exchanges = _bind(quick.vlv_plane_exchanges, c_uint64, c_void_p)
        self.plane_stop = _bind(waiting.vlv_plane_stop, None, c_void_p)


def _bind(function: Any, result: Any, *arguments: Any) -> Any:
    function.restype = result
    function.argtypes = arguments
    return function


@lru_cache(maxsize=1)
def library() -> Library:
    return Library()


def error_kinds() -> tuple[str, ...]:
    """By their numbers in C."""
    names: list[str] = []
    while (name := library().error_name(len(names))) is not None:
        names.append(name.decode())
    return tuple(names)


def text(address: int | None, size: int) -> str:
    """What a client sent may hold bytes that are no text."""
    return ctypes.string_at(address, size).decode(errors="surrogateescape") if address else ""
