"""Owns the formats of published arrival traces: one row of a CSV or JSONL file becomes one arrival (pure).

A file's format is told by its column names. To read another format, add one reader and one line to FORMATS.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

Row = Sequence[Any]
Reader = Callable[[Iterable[Row]], Iterator["Arrival | None"]]


@dataclass(frozen=True, slots=True)
class Arrival:
    """One request of a trace: seconds since the trace's start, and its lengths in tokens."""

    at_s: float
    input_tokens: int
    output_tokens: int
    deployment: str = ""
    """Which endpoint or model it went to, where the trace tells."""
    session: str = ""
    """The conversation it belongs to, where the trace tells; its turns share a prefix."""


@dataclass(frozen=True)
class Format:
    """`columns` must all be there; `more` may be (a missing one reads as ''). Both in the reader's order.

    The reader yields one item a row, None for one that is no request. `rebased`: times count from the first.
    """

    name: str
    columns: tuple[str, ...]
    read: Reader
    more: tuple[str, ...] = ()
    rebased: bool = True


def _own(rows: Iterable[Row]) -> Iterator[Arrival]:
    for at_s, inputs, outputs, deployment, session in rows:
        yield Arrival(float(at_s), int(inputs), int(outputs), str(deployment), str(session))


def _azure(rows: Iterable[Row]) -> Iterator[Arrival]:
    for stamp, inputs, outputs in rows:
        at = datetime.fromisoformat(stamp)
        at_s = (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()
        yield Arrival(at_s, int(inputs), int(outputs))


def _burstgpt(rows: Iterable[Row]) -> Iterator[Arrival | None]:
    for at_s, model, inputs, outputs, session in rows:
        if int(outputs) == 0:  # a failed request
            yield None
        else:
            yield Arrival(float(at_s), int(inputs), int(outputs), str(model), str(session))


def _bailian(rows: Iterable[Row]) -> Iterator[Arrival]:
    roots: dict[Any, Any] = {}
    for chat, parent, at_s, inputs, outputs in rows:
        roots[chat] = roots.get(parent, chat)
        yield Arrival(float(at_s), int(inputs), int(outputs), "", str(roots[chat]))


def _mooncake(rows: Iterable[Row]) -> Iterator[Arrival]:
    for at_ms, inputs, outputs in rows:
        yield Arrival(float(at_ms) / 1000, int(inputs), int(outputs))


FORMATS = (
    Format(
        "Valve",
        ("arrival_s", "input_tokens", "output_tokens"),
        _own,
        ("deployment", "session"),
        rebased=False,
    ),
    Format("Azure", ("TIMESTAMP", "ContextTokens", "GeneratedTokens"), _azure),
    Format(
        "BurstGPT", ("Timestamp", "Model", "Request tokens", "Response tokens"), _burstgpt, ("Session ID",)
    ),
    Format(
        "Qwen-Bailian",
        ("chat_id", "parent_chat_id", "timestamp", "input_length", "output_length"),
        _bailian,
    ),
    Format("Mooncake", ("timestamp", "input_length", "output_length"), _mooncake),
)


def recognise(columns: Iterable[str]) -> Format | None:
    """The first format all of whose columns are there."""
    found = set(columns)
    return next((each for each in FORMATS if found.issuperset(each.columns)), None)
