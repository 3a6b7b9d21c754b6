"""Owns the way into libvalve_planner: the simulation of a fleet and the sums over its idle gaps, in C.

The structures are those of native/planner/planner.h, which says what is simulated.
"""

import ctypes
import os
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from functools import cache
from pathlib import Path

from valve_loadgen.errors import BenchError
from valve_loadgen.plan.engine import Engine
from valve_loadgen.plan.requests import Requests

LIBRARY = Path(__file__).parent.with_name("libvalve_planner.so")
F64, U32, U64 = ctypes.c_double, ctypes.c_uint32, ctypes.c_uint64


class Rule(IntEnum):
    """Which replica of its deployment a request goes to."""

    ROTATE = 0
    LEAST_LOADED = 1
    PACK_FIRST = 2


@dataclass(frozen=True)
class Fleet:
    """Which replicas serve which deployment: `parts[group]` = (first replica, how many)."""

    replicas: int
    parts: Sequence[tuple[int, int]]
    rule: Rule
    pack_limit: int = 0


@dataclass(frozen=True)
class Outcome:
    """What happened: by request, by replica, and all idle gaps [start, end) of all replicas. Seconds."""

    first_s: "array[float]"
    done_s: "array[float]"
    replica: "array[int]"
    served: "array[int]"
    gap_start: "array[float]"
    gap_end: "array[float]"
    gap_replica: "array[int]"
    slice_s: float = 0.0
    """Under the budget policy: time in slices, summed over replicas."""
    slices: int = 0


@dataclass(frozen=True)
class Budget:
    """The budget policy: the TPOT SLO, and what it takes to stop a tenant."""

    slo_s: float
    stop_s: float


@dataclass(frozen=True)
class Blocks:
    """The observed time in pieces of `block_s`; sums over all replicas."""

    block_s: float
    drained_s: "array[float]"
    open_s: "array[float]"
    preemptions: "array[int]"


class _Engine(ctypes.Structure):
    _fields_ = (
        ("step_s", F64),
        ("sequence_s", F64),
        ("token_s", F64),
        ("batch", U32),
        ("chunk", U32),
    )


class _Trace(ctypes.Structure):
    _fields_ = (
        ("at_s", ctypes.c_void_p),
        ("input", ctypes.c_void_p),
        ("output", ctypes.c_void_p),
        ("group", ctypes.c_void_p),
        ("count", U64),
        ("span_s", F64),
    )


class _Fleet(ctypes.Structure):
    _fields_ = (
        ("replicas", U32),
        ("groups", U32),
        ("base", ctypes.c_void_p),
        ("size", ctypes.c_void_p),
        ("routing", U32),
        ("pack_limit", U32),
    )


class _Outcome(ctypes.Structure):
    _fields_ = (
        ("first_s", ctypes.c_void_p),
        ("done_s", ctypes.c_void_p),
        ("replica", ctypes.c_void_p),
        ("served", ctypes.c_void_p),
        ("gap_start", ctypes.c_void_p),
        ("gap_end", ctypes.c_void_p),
        ("gap_replica", ctypes.c_void_p),
        ("gaps", U64),
        ("slice_s", F64),
        ("slices", U64),
    )


class _Budget(ctypes.Structure):
    _fields_ = (("slo_s", F64), ("stop_s", F64))


class _Gaps(ctypes.Structure):
    _fields_ = (
        ("start", ctypes.c_void_p),
        ("end", ctypes.c_void_p),
        ("count", U64),
        ("span_s", F64),
    )


class _Blocks(ctypes.Structure):
    _fields_ = (
        ("block_s", F64),
        ("count", U64),
        ("drained_s", ctypes.c_void_p),
        ("open_s", ctypes.c_void_p),
        ("preemptions", ctypes.c_void_p),
    )


def simulate(engine: Engine, requests: Requests, fleet: Fleet, budget: Budget | None = None) -> Outcome:
    """Serves every request of `requests` on `fleet`; with `budget` under that policy, undisturbed else.

    Raises BenchError when it cannot.
    """
    bases = array("I", (base for base, _size in fleet.parts))
    sizes = array("I", (size for _base, size in fleet.parts))
    count, gaps = len(requests), len(requests) + fleet.replicas
    out = Outcome(
        _f64(count),
        _f64(count),
        _u32(count),
        _u64(fleet.replicas),
        _f64(gaps),
        _f64(gaps),
        _u32(gaps),
    )
    told = _outcome(out)
    error = _library().vlv_plan_simulate_budget(
        ctypes.byref(_engine(engine)),
        ctypes.byref(_trace(requests)),
        ctypes.byref(
            _Fleet(fleet.replicas, len(fleet.parts), _at(bases), _at(sizes), fleet.rule, fleet.pack_limit)
        ),
        ctypes.byref(_Budget(budget.slo_s, budget.stop_s)) if budget else None,
        ctypes.byref(told),
    )
    if error:
        raise BenchError(f"cannot simulate the fleet: {os.strerror(-error)}")
    del out.gap_start[told.gaps :], out.gap_end[told.gaps :], out.gap_replica[told.gaps :]
    return replace(out, slice_s=told.slice_s, slices=told.slices)


def harvest(outcome: Outcome, span_s: float, cooldown_s: float, block_s: float) -> Blocks:
    """Release-on-drain over the idle gaps of `outcome`, in blocks of `block_s` (the last takes the rest)."""
    count = max(1, int(span_s / block_s + 1e-9))
    blocks = Blocks(block_s, _f64(count), _f64(count), _u64(count))
    _library().vlv_plan_harvest(
        ctypes.byref(_Gaps(_at(outcome.gap_start), _at(outcome.gap_end), len(outcome.gap_start), span_s)),
        F64(cooldown_s),
        ctypes.byref(
            _Blocks(block_s, count, _at(blocks.drained_s), _at(blocks.open_s), _at(blocks.preemptions))
        ),
    )
    return blocks


@cache
def _library() -> ctypes.CDLL:
    if not LIBRARY.is_file():
        raise BenchError(f"{LIBRARY} is missing; run `make native`")
    library = ctypes.CDLL(str(LIBRARY))
    library.vlv_plan_harvest.restype = None
    return library


def _engine(engine: Engine) -> _Engine:
    return _Engine(
        engine.step_ms / 1e3,
        engine.sequence_us / 1e6,
        1.0 / engine.prefill_tokens_per_s,
        engine.batch,
        engine.chunk,
    )


def _trace(requests: Requests) -> _Trace:
    return _Trace(
        _at(requests.at_s),
        _at(requests.inputs),
        _at(requests.outputs),
        _at(requests.group),
        len(requests),
        requests.span_s,
    )


def _outcome(out: Outcome) -> _Outcome:
    return _Outcome(
        _at(out.first_s),
        _at(out.done_s),
        _at(out.replica),
        _at(out.served),
        _at(out.gap_start),
        _at(out.gap_end),
        _at(out.gap_replica),
        0,
    )


def _at(column: "array[int] | array[float]") -> int:
    return column.buffer_info()[0]


def _f64(count: int) -> "array[float]":
    return array("d", bytes(8 * count))


def _u32(count: int) -> "array[int]":
    return array("I", bytes(4 * count))


def _u64(count: int) -> "array[int]":
    return array("Q", bytes(8 * count))
