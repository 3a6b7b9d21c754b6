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
    c_char,
    c_char_p,
    c_double,
    c_int,
    c_size_t,
    c_uint8,
    c_uint32,
    c_uint64,
    c_void_p,
)
from enum import IntEnum
from functools import lru_cache
from pathlib import Path
from typing import Any

from valve_runtime.errors import SegmentError
from valve_runtime.native import find_library

from .flight import Outcome

ADDRESSES_MAX = 8
OUTCOMES = (Outcome.COMPLETED, Outcome.CLIENT_GONE, Outcome.UPSTREAM_FAILED, Outcome.REFUSED)


class Request(Structure):
    _fields_ = (
        ("method", c_void_p),
        ("path", c_void_p),
        ("request_id", c_void_p),
        ("traceparent", c_void_p),
        ("method_len", c_size_t),
        ("path_len", c_size_t),
        ("request_id_len", c_size_t),
        ("traceparent_len", c_size_t),
        ("readable_ns", c_uint64),
        ("body_len", c_uint64),
        ("upgrade", c_bool),
    )


ARRIVE = CFUNCTYPE(c_void_p, c_void_p, POINTER(Request))
PROGRESS = CFUNCTYPE(None, c_void_p, c_void_p, c_void_p, c_size_t)
FINISH = CFUNCTYPE(None, c_void_p, c_void_p, c_int, c_int)
COUNT_ERROR = CFUNCTYPE(None, c_void_p, c_int)
HOLD_BACK = CFUNCTYPE(None, c_void_p, c_void_p, c_bool)
TICK = CFUNCTYPE(c_uint64, c_void_p, c_uint64)
TRACEPARENT = CFUNCTYPE(c_bool, c_void_p, c_void_p, c_void_p)


class Calls(Structure):
    _fields_ = (
        ("arrive", ARRIVE),
        ("progress", PROGRESS),
        ("finish", FINISH),
        ("count_error", COUNT_ERROR),
        ("hold_back", HOLD_BACK),
        ("tick", TICK),
        ("traceparent", TRACEPARENT),
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
        ("idle_timeout_s", c_double),
        ("calls", POINTER(Calls)),
        ("intake", c_void_p),
    )


ARRIVAL_BUCKETS = 16
ERROR_KINDS = 7
LOG_CAPACITY = 65_536
REQUEST_ID_MAX = 128
PATH_MAX = 256
MADE_MAX = 1024
ANSWER_TEXT_MAX = 128
FINISH_REASONS_MAX = 132

LATENCY_BOUNDS = 16

OPERATION = CFUNCTYPE(c_uint8, c_void_p, c_size_t, c_void_p, c_size_t, c_bool)


class EventKind(IntEnum):
    CLOSE = 0
    OPEN = 1
    LAPSE = 2
    REQUEST = 3
    MADE = 4


class Load(IntEnum):
    IDLE = 0
    BUSY = 1
    UNKNOWN = 2


STATES = ("open", "closed", "asking", "cooling")


class IntakeStats(Structure):
    _fields_ = (
        ("in_flight", c_uint64),
        ("drained_ns", c_uint64),
        ("idle_since_ns", c_uint64),
        ("passed_through", c_uint64),
        ("tokens", c_uint64),
        ("input_tokens", c_uint64),
        ("waiting", c_uint64),
        ("waiting_bytes", c_uint64),
        ("closes_per_request_max", c_uint64),
        ("requests", c_uint64 * len(OUTCOMES)),
        ("errors", c_uint64 * ERROR_KINDS),
        ("state", c_uint64),
        ("held", c_uint64),
        ("closes", c_uint64),
        ("lapses", c_uint64),
        ("released", c_uint64),
        ("closed_ns", c_uint64),
        ("closed_at_ns", c_uint64),
        ("cooldown_ns", c_uint64),
        ("question", c_uint64),
        ("arrivals", c_uint64 * (ARRIVAL_BUCKETS + 1)),
        ("arrivals_sum_ns", c_uint64),
        ("slices", c_uint64),
        ("slices_cut", c_uint64),
        ("slice_until_ns", c_uint64),
        ("slice_began_ns", c_uint64),
        ("slice_ns", c_uint64),
        ("slo_ns", c_uint64),
        ("period_ns", c_uint64),
        ("reserve_ns", c_uint64),
        ("base_ns", c_uint64),
        ("balance_ns", c_uint64),
        ("earned_ns", c_uint64),
        ("spent_ns", c_uint64),
        ("sliced", c_uint64),
        ("sliced_missed", c_uint64),
        ("newest_version", c_uint64),
        ("newest_readable_ns", c_uint64),
        ("newest_trace_high", c_uint64),
        ("newest_trace_low", c_uint64),
        ("newest_span", c_uint64),
    )


class Latency(IntEnum):
    DURATION = 0
    FIRST_TOKEN = 1
    LATER_TOKENS = 2


class Histogram(Structure):
    _fields_ = (("counts", c_uint64 * (LATENCY_BOUNDS + 1)), ("sum_ns", c_uint64))


class Series(Structure):
    """What of `model` counts, as model_len says."""


Series._fields_ = (
    ("next", POINTER(Series)),
    ("operation", c_uint32),
    ("outcome", c_uint32),
    ("bad_status", c_uint32),
    ("model_len", c_uint32),
    ("model", c_char * ANSWER_TEXT_MAX),
    ("histograms", Histogram * len(Latency)),
)


class IntakeOptions(Structure):
    _fields_ = (
        ("gated", c_bool),
        ("measures_arrivals", c_bool),
        ("fixed_cooldown_ns", c_uint64),
        ("notice_fd", c_int),
        ("slo_tpot_ns", c_uint64),
        ("tpot_over", c_double),
        ("slo_ttft_ns", c_uint64),
        ("period_min_ns", c_uint64),
        ("trace_share", c_double),
        ("latency_bounds_ns", c_uint64 * LATENCY_BOUNDS * len(Latency)),
        ("operation", OPERATION),
    )


class Event(Structure):
    _fields_ = (
        ("number", c_uint64),
        ("t_ns", c_uint64),
        ("kind", c_uint32),
        ("generation", c_uint32),
        ("readable_ns", c_uint64),
        ("trace_high", c_uint64),
        ("trace_low", c_uint64),
        ("span", c_uint64),
        ("parent", c_uint64),
        ("arrival_ns", c_uint64),
        ("gate_ns", c_uint64),
        ("first_token_ns", c_uint64),
        ("last_token_ns", c_uint64),
        ("finished_ns", c_uint64),
        ("max_gap_ns", c_uint64),
        ("tokens", c_uint64),
        ("closes_seen", c_uint64),
        ("slices_seen", c_uint64),
        ("closed_gate", c_uint32),
        ("status", c_uint32),
        ("outcome", c_uint32),
        ("upgrade", c_uint32),
        ("input_tokens", c_uint32),
        ("streamed", c_uint32),
        ("model_len", c_uint32),
        ("response_id_len", c_uint32),
        ("finish_reasons_len", c_uint32),
        ("request_id_len", c_uint32),
        ("path_len", c_uint32),
        ("made_len", c_uint32),
        # Read as bytes up to a zero, which no text holds; of these the first so many as the lengths say.
        ("model", c_char * ANSWER_TEXT_MAX),
        ("response_id", c_char * ANSWER_TEXT_MAX),
        ("finish_reasons", c_char * FINISH_REASONS_MAX),
        ("request_id", c_char * REQUEST_ID_MAX),
        ("path", c_char * PATH_MAX),
        ("made", c_char * MADE_MAX),
    )


class Library:
    """libvalve.so with the data plane's functions bound."""

    def __init__(self, path: Path) -> None:
        """Raises OSError if it cannot be loaded, AttributeError if it is of another version."""
        quick, waiting = ctypes.PyDLL(str(path)), ctypes.CDLL(str(path))
        self.error_name = _bind(quick.vlv_error_name, c_char_p, c_int)
        self.plane_create = _bind(quick.vlv_plane_create, c_void_p, POINTER(PlaneOptions))
        self.plane_set_engine = _bind(
            quick.vlv_plane_set_engine, None, c_void_p, POINTER(SocketAddress), POINTER(c_uint32), c_size_t
        )
        self.plane_start = _bind(quick.vlv_plane_start, c_int, c_void_p)
        self.plane_retire = _bind(quick.vlv_plane_retire, c_int, c_void_p, c_int, c_uint64)
        self.plane_echo = _bind(quick.vlv_plane_echo, None, c_void_p, c_uint64, c_uint64)
        self.reuse_streams = _bind(quick.vlv_plane_reuse_streams, None, c_void_p, c_uint64, c_uint64)
        self.plane_exchanges = _bind(quick.vlv_plane_exchanges, c_uint64, c_void_p)
        self.plane_stop = _bind(waiting.vlv_plane_stop, None, c_void_p)
        self.plane_post = _bind(quick.vlv_plane_post, c_int, c_void_p, c_void_p, c_void_p, c_uint64, c_uint64)
        self._bind_intake(quick)

    def _bind_intake(self, quick: Any) -> None:
        self.intake_create = _bind(quick.vlv_intake_create, c_void_p, POINTER(IntakeOptions))
        self.intake_destroy = _bind(quick.vlv_intake_destroy, None, c_void_p)
        self.intake_calls = _bind(quick.vlv_intake_calls, POINTER(Calls))
        self.intake_stats = _bind(quick.vlv_intake_stats, POINTER(IntakeStats), c_void_p)
        self.intake_latencies = _bind(quick.vlv_intake_latencies, POINTER(Series), c_void_p)
        self.set_holder = _bind(quick.vlv_intake_set_holder, None, c_void_p, c_uint64, c_uint64)
        self.answer = _bind(quick.vlv_intake_answer, None, c_void_p, c_uint64, c_uint64)
        self.set_engine = _bind(quick.vlv_intake_set_engine, None, c_void_p, c_uint64, c_uint64)
        self.set_costs = _bind(quick.vlv_intake_set_costs, None, c_void_p, c_uint64, c_uint64)
        self.set_load = _bind(quick.vlv_intake_set_load, None, c_void_p, c_uint64, c_uint64)
        self.forget_routes = _bind(quick.vlv_intake_forget_routes, None, c_void_p, c_uint64, c_uint64)
        self.log_add = _bind(quick.vlv_log_add, None, c_void_p, c_uint64, c_char_p, c_size_t)
        self.log_read = _bind(
            quick.vlv_log_read,
            c_uint64,
            c_void_p,
            c_uint64,
            c_uint32,
            POINTER(Event),
            c_uint64,
            POINTER(c_uint64),
        )


def _bind(function: Any, result: Any, *arguments: Any) -> Any:
    function.restype = result
    function.argtypes = arguments
    return function


@lru_cache(maxsize=1)
def library() -> Library:
    """The library, loaded once. Raises SegmentError with the mend."""
    path = find_library()
    try:
        return Library(path)
    except (OSError, AttributeError) as error:
        raise SegmentError(f"cannot use {path}: {error}; run `make native`") from error


def error_kinds() -> tuple[str, ...]:
    """By their numbers in C."""
    names: list[str] = []
    while (name := library().error_name(len(names))) is not None:
        names.append(name.decode())
    return tuple(names)


def text(address: int | None, size: int) -> str:
    """What a client sent may hold bytes that are no text."""
    return ctypes.string_at(address, size).decode(errors="surrogateescape") if address else ""
