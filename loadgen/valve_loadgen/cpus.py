"""Owns the placing of processes on cores: the engines share one core, everything else keeps off it."""

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Placement:
    """`engines` is where both engines run, `others` where client, sidecar and agents run."""

    engines: frozenset[int]
    others: frozenset[int]

    @property
    def shared(self) -> bool:
        """Whether the load generator has to share the engines' core: figures then say little."""
        return bool(self.engines & self.others)

    def __str__(self) -> str:
        return f"engines on core {cores(self.engines)}, everything else on {cores(self.others)}"


def place(available: set[int], engine_cores: int = 1) -> Placement:
    """The first `engine_cores` for the engines, but one is left for the rest; a single core is shared."""
    ordered = sorted(available)
    taken = max(1, min(engine_cores, len(ordered) - 1))
    return Placement(frozenset(ordered[:taken]), frozenset(ordered[taken:] or ordered))


def available() -> set[int]:
    """The cores that this process may use."""
    return set(os.sched_getaffinity(0))


@contextlib.contextmanager
def kept_on(cpus: frozenset[int]) -> Iterator[None]:
    """Keeps this process on `cpus` meanwhile."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cpus)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def cores(cpus: frozenset[int]) -> str:
    """{0, 2} -> '0,2'."""
    return ",".join(str(cpu) for cpu in sorted(cpus))
