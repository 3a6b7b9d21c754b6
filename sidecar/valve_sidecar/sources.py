"""Where the admin endpoint's answers come from: this worker, or the merge of several."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any


async def always() -> bool:
    return True


@dataclass(frozen=True, slots=True)
class Sources:
    """`state` raises SidecarError if nobody can tell it."""

    state: Callable[[], Awaitable[dict[str, Any]]]
    events: Callable[[int, int], Awaitable[dict[str, Any]]]  # from a sequence number on, at most so many
    problems: Callable[[], Awaitable[list[str]]]  # empty: ready
    responds: Callable[[], Awaitable[bool]] = always
    traces: Callable[[], dict[str, int]] = dict  # spans exported, and dropped by reason
