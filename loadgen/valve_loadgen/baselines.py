"""Owns what a user would do instead of Valve: how each baseline starts its offline engine, if it can.

On a CPU: nice, SCHED_IDLE, or a cgroup of the least weight. What shares a GPU needs one.
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from valve_loadgen.cpu_group import cpu_cgroup, limited
from valve_loadgen.errors import BenchError

LEAST_WEIGHT = {"cpu.weight": "1", "cpu.shares": "2"}
NO_GPU = "needs a GPU; both engines run on the CPU here"


@dataclass(frozen=True)
class Baseline:
    """`prefix` goes before the engine's command; with `cgroup` that moves it into one of least weight.

    `refusal`: why it is not available here; None if it is.
    """

    name: str
    title: str
    refusal: Callable[[], str | None]
    prefix: tuple[str, ...] = ()
    cgroup: bool = False

    @property
    def arm(self) -> str:
        return f"shared_{self.name}"


def _always() -> None:
    return None


def _no_gpu() -> str:
    return NO_GPU


def _no_cgroup() -> str | None:
    return None if cpu_cgroup() else "no writable cgroup with the cpu controller (try as root)"


BASELINES = {
    each.name: each
    for each in (
        Baseline("nice", "shared, nice 19", _always, ("nice", "-n", "19")),
        Baseline("sched_idle", "shared, SCHED_IDLE", _always, ("chrt", "--idle", "0")),
        Baseline("cgroup", "shared, cgroup weight 1", _no_cgroup, cgroup=True),
        Baseline("time_slicing", "shared, GPU time-slicing", _no_gpu),
        Baseline("stream_priority", "shared, low stream priority", _no_gpu),
        Baseline("mps", "shared, MPS", _no_gpu),
    )
}


def choose(names: Sequence[str]) -> list[Baseline]:
    """The baselines of `names`, in order. Raises BenchError for one that is unknown or not available here."""
    chosen = []
    for name in names:
        baseline = BASELINES.get(name)
        if baseline is None:
            raise BenchError(f"there is no baseline {name!r}; there are {', '.join(BASELINES)}")
        if refusal := baseline.refusal():
            raise BenchError(f"the baseline {name} is not available: {refusal}")
        chosen.append(baseline)
    return chosen


def availability() -> dict[str, str | None]:
    """Each baseline and why it is not available here, if so."""
    return {name: baseline.refusal() for name, baseline in BASELINES.items()}


@contextlib.contextmanager
def prepared(baselines: Sequence[Baseline]) -> Iterator[dict[str, tuple[str, ...]]]:
    """What precedes each baseline's command. Its processes must end before the context does."""
    with contextlib.ExitStack() as stack:
        yield {
            each.name: stack.enter_context(limited("least", LEAST_WEIGHT)) if each.cgroup else each.prefix
            for each in baselines
        }
