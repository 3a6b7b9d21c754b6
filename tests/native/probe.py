"""The pure parts of native/plane and native/intake, called directly (native/tests/probe/probe.c)."""

from __future__ import annotations

import ctypes
from ctypes import (
    POINTER,
    Structure,
    c_char_p,
    c_double,
    c_int,
    c_int32,
    c_int64,
    c_size_t,
    c_uint32,
    c_uint64,
    c_void_p,
)
from pathlib import Path

from valve_sidecar.budget import Account, Goal

LIBRARY = Path(__file__).parents[2] / "build" / "native" / "native" / "libvalve_probe.so"


class Head(Structure):
    """`taken`: bytes of the head; 0 incomplete, below 0 not acceptable. `refusal`: 0 if it may pass."""

    _fields_ = (
        ("taken", c_int64),
        ("refusal", c_int32),
        ("status", c_int32),
        ("minor", c_int32),
        ("lengths", c_uint32),
        ("chunked", c_uint32),
        ("fields", c_uint32),
        ("says_close", c_uint32),
        ("reserved", c_uint32),
        ("length", c_uint64),
        ("method_len", c_uint64),
        ("target_at", c_uint64),
        ("target_len", c_uint64),
    )

    @property
    def passes(self) -> bool:
        return self.taken > 0 and self.refusal == 0


class Step(Structure):
    _fields_ = tuple((name, c_uint64) for name in ("action", "epoch", "state", "held", "released"))


class BudgetFigures(Structure):
    _fields_ = (
        *((name, c_uint64) for name in ("slices", "cut", "ended", "missed", "slo", "period", "slice_end")),
        *((name, c_double) for name in ("reserve", "base", "window")),
    )


class Facts(Structure):
    """What an answer tells, texts as (size, bytes)."""

    _fields_ = (
        ("model_len", c_uint64),
        ("response_id_len", c_uint64),
        ("finish_reasons_len", c_uint64),
        ("input_tokens", c_uint64),
        ("streamed", c_uint64),
        ("model", ctypes.c_uint8 * 128),
        ("response_id", ctypes.c_uint8 * 128),
        ("finish_reasons", ctypes.c_uint8 * 132),
    )

    def text(self, name: str) -> str:
        return bytes(getattr(self, name)[: getattr(self, name + "_len")]).decode(errors="replace")


_library = ctypes.CDLL(str(LIBRARY))
for _name, _result in (
    ("probe_body_new", c_void_p),
    ("probe_body_ended", ctypes.c_bool),
    ("probe_body_follow", c_int64),
    ("probe_tokens_new", c_void_p),
    ("probe_tokens_feed", c_uint64),
    ("probe_tokens_total", c_uint64),
    ("probe_controller_new", c_void_p),
    ("probe_budget_new", c_void_p),
    ("probe_budget_decide", ctypes.c_bool),
    ("probe_ends_new", c_void_p),
    ("probe_traceparent", ctypes.c_bool),
    ("probe_size", c_size_t),
):
    getattr(_library, _name).restype = _result
_library.probe_body_free.argtypes = _library.probe_free.argtypes = (c_void_p,)
_library.probe_body_ended.argtypes = _library.probe_tokens_total.argtypes = (c_void_p,)
_library.probe_body_new.argtypes = (c_int, c_uint64)
_library.probe_tokens_feed.argtypes = (c_void_p, c_char_p, c_size_t)
_library.probe_ends_keep.argtypes = (c_void_p, c_char_p, c_size_t)
_library.probe_ends_read.argtypes = (c_void_p, POINTER(Facts))
_library.probe_traceparent.argtypes = (c_char_p, c_size_t, POINTER(c_uint64 * 4))
_library.probe_controller_call.argtypes = (c_void_p, c_int, c_uint64, POINTER(Step))
_library.probe_budget_new.argtypes = (c_uint64, c_double, c_uint64, c_uint64)
_library.probe_budget_account.argtypes = (
    *(c_void_p, c_int, ctypes.c_bool),
    *(c_uint64, c_uint64, c_uint64, ctypes.c_bool),
)
_library.probe_budget_decide.argtypes = (c_void_p, c_uint64, POINTER(c_uint64))
_library.probe_budget_decoded.argtypes = (c_void_p, c_int, c_uint64, c_uint64, ctypes.c_bool)
_library.probe_budget_finished.argtypes = (c_void_p, c_int, c_uint64)
_library.probe_budget_learn.argtypes = (c_void_p, c_int, c_uint64, c_uint64)
_library.probe_budget_figures.argtypes = (c_void_p, POINTER(BudgetFigures))


def read_request(data: bytes) -> Head:
    head = Head()
    _library.probe_request(data, c_size_t(len(data)), ctypes.byref(head))
    return head


def read_response(data: bytes) -> Head:
    head = Head()
    _library.probe_response(data, c_size_t(len(data)), ctypes.byref(head))
    return head


def size_of(which: int) -> int:
    return int(_library.probe_size(which))


class Body:
    """`framing`: 1 length, 2 chunked, 3 until close."""

    def __init__(self, framing: int, length: int = 0) -> None:
        self._body = _library.probe_body_new(framing, length)
        self.wire = self.content = b""

    def follow(self, data: bytes) -> int:
        """How many bytes belonged to the body; -1: malformed."""
        room = len(data) + 16384
        wire, content = ctypes.create_string_buffer(room * 2), ctypes.create_string_buffer(room)
        wire_len, content_len = c_size_t(), c_size_t()
        taken = _library.probe_body_follow(
            c_void_p(self._body),
            data,
            c_size_t(len(data)),
            wire,
            ctypes.byref(wire_len),
            content,
            ctypes.byref(content_len),
        )
        self.wire += wire.raw[: wire_len.value]
        self.content += content.raw[: content_len.value]
        return int(taken)

    @property
    def ended(self) -> bool:
        return bool(_library.probe_body_ended(self._body))

    def close(self) -> None:
        _library.probe_body_free(self._body)


class Tokens:
    """As adapters' TokenCounter."""

    def __init__(self) -> None:
        self._tokens = _library.probe_tokens_new()

    def feed(self, data: bytes) -> int:
        return int(_library.probe_tokens_feed(self._tokens, data, len(data)))

    @property
    def tokens(self) -> int:
        return int(_library.probe_tokens_total(self._tokens))

    def close(self) -> None:
        _library.probe_free(self._tokens)


def read_ends(pieces: list[bytes]) -> Facts:
    """Of an answer that passes in these pieces."""
    ends, facts = _library.probe_ends_new(), Facts()
    for piece in pieces:
        _library.probe_ends_keep(ends, piece, len(piece))
    _library.probe_ends_read(ends, ctypes.byref(facts))
    _library.probe_free(ends)
    return facts


def read_traceparent(header: bytes) -> tuple[str, str, int] | None:
    """As trace.parse_traceparent."""
    out = (c_uint64 * 4)()
    if not _library.probe_traceparent(header, len(header), ctypes.byref(out)):
        return None
    return f"{out[0]:016x}{out[1]:016x}", f"{out[2]:016x}", out[3]


class Controller:
    def __init__(self) -> None:
        self._controller = _library.probe_controller_new()

    def call(self, what: int, argument: int) -> Step:
        step = Step()
        _library.probe_controller_call(self._controller, what, argument, ctypes.byref(step))
        return step

    def close(self) -> None:
        _library.probe_free(self._controller)


LESSONS = ("closed", "first_token", "costs", "load")


class BudgetProbe:
    """Requests are told by number."""

    def __init__(self, goal: Goal) -> None:
        self._budget = _library.probe_budget_new(goal.slo_ns, goal.over, goal.ttft_ns, goal.period_min_ns)

    def account(self, key: int, account: Account) -> None:
        _library.probe_budget_account(
            self._budget, key, True, account.since_ns, account.last_ns, account.tokens, account.held_back
        )

    def decide(self, now_ns: int) -> tuple[bool, int]:
        wake_ns = c_uint64()
        is_open = _library.probe_budget_decide(self._budget, now_ns, ctypes.byref(wake_ns))
        return is_open, wake_ns.value

    def decoded(self, key: int, now_ns: int, tokens: int, *, calm: bool) -> None:
        _library.probe_budget_decoded(self._budget, key, now_ns, tokens, calm)

    def finished(self, key: int, tokens: int) -> None:
        _library.probe_budget_finished(self._budget, key, tokens)

    def learn(self, what: str, first: int, second: int) -> None:
        _library.probe_budget_learn(self._budget, LESSONS.index(what), first, second)

    def figures(self) -> tuple[float, ...]:
        figures = BudgetFigures()
        _library.probe_budget_figures(self._budget, ctypes.byref(figures))
        return tuple(getattr(figures, name) for name, _ in BudgetFigures._fields_)

    def close(self) -> None:
        _library.probe_free(self._budget)
