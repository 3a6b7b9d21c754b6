"""What an offline engine is told when `valve run` starts it, so that it survives being stopped for long.

An engine that is stopped in the middle of a step takes itself for hung. Where its limit can be raised we
raise it; where it cannot, the tenant may not stay stopped for that long (docs/adr/0007).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

WEEK_S = 7 * 24 * 3600  # in milliseconds it still fits 31 bits, which some pollers count in
SAFE_SHARE = 0.8  # of a limit: until then a stop is sure to be survived


@dataclass(frozen=True, slots=True)
class Limit:
    """An engine's own limit on a step. It is raised by `variable` or by `flag`, or by neither."""

    default_s: float
    variable: str = ""
    flag: str = ""


@dataclass(frozen=True, slots=True)
class Server:
    """An engine's server and what it tells at /metrics. `launchers`: consecutive words that start it; `port`:
    its own. `tokens`, `input_tokens`: names of counters, of generated tokens and of prompts'.
    """

    launchers: tuple[tuple[str, ...], ...]
    port: int
    tokens: str
    input_tokens: str


@dataclass(frozen=True, slots=True)
class KvPool:
    """How an engine is started on KV memory that comes and goes. `flags`: added, {bytes} is the pool's size.
    `keywords`: the same for a program that takes no flags. `environment`: set where the user has not.
    `refused`: flags that it cannot go together with, but for the value 1.
    """

    flags: tuple[tuple[str, ...], ...]
    keywords: str
    environment: Mapping[str, str] = field(default_factory=dict)
    refused: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Preset:
    """`programs`: commands and Python packages that start this engine. `launchers`: consecutive words that
    make a command line take the engine's flags. `environment`: set where the user has not.
    """

    programs: tuple[str, ...] = ()
    launchers: tuple[tuple[str, str], ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    limit: Limit | None = None
    kv_pool: KvPool | None = None
    server: Server | None = None


@dataclass(frozen=True, slots=True)
class Prepared:
    """A command with its preset applied. `max_stopped_s`: 0 = it may stay stopped for ever."""

    argv: list[str]
    environment: dict[str, str]  # what is to be added
    max_stopped_s: float
    flags: tuple[str, ...] = ()  # what was added to argv

    @property
    def told(self) -> str:
        """What was set, for people; empty if nothing was."""
        return " ".join([*(f"{k}={v}" for k, v in self.environment.items()), *self.flags])


def programs(argv: Sequence[str]) -> list[str]:
    """What a command line may start, in its order: `numactl vllm serve`, `python -m vllm.entrypoints...`."""
    return [_program(before, word) for before, word in zip(["", *argv], argv, strict=False)]


def prepare(preset: Preset, argv: Sequence[str], environment: Mapping[str, str]) -> Prepared:
    """What the user has set himself stays; a limit of his own bounds the stops instead."""
    added = {k: v for k, v in preset.environment.items() if k not in environment}
    limit = preset.limit
    if limit is None:
        return Prepared([*argv], added, 0)
    own = environment.get(limit.variable) if limit.variable else value_of(argv, limit.flag)
    if own is not None:
        return Prepared([*argv], added, _bound(own, limit))
    if limit.variable:
        return Prepared([*argv], added | {limit.variable: str(WEEK_S)}, 0)
    if limit.flag and takes_flags(preset, argv):
        return Prepared([*argv, limit.flag, str(WEEK_S)], added, 0, (limit.flag, str(WEEK_S)))
    return Prepared([*argv], added, SAFE_SHARE * limit.default_s)


def takes_flags(preset: Preset, argv: Sequence[str]) -> bool:
    """Whether the command takes the engine's flags, so that one can be appended."""
    words = [Path(word).name for word in argv]
    return any(pair in preset.launchers for pair in pairwise(words))


def value_of(argv: Sequence[str], flag: str) -> str | None:
    """The value that the command line gives the flag; the last one wins, as in argparse."""
    if not flag:
        return None
    found = None
    for word, following in zip(argv, [*argv[1:], ""], strict=False):
        if word == flag:
            found = following
        elif word.startswith(f"{flag}="):
            found = word.removeprefix(f"{flag}=")
    return found


def _program(before: str, word: str) -> str:
    return word.split(".")[0] if before == "-m" else Path(word).name


def _bound(own: str, limit: Limit) -> float:
    """What keeps a tenant within the user's own limit; one that the engine refuses counts as its default."""
    try:
        limit_s = float(own)
    except ValueError:
        limit_s = limit.default_s
    return SAFE_SHARE * limit_s if 0 < limit_s < math.inf else 0
