"""Owns what a plan says of KV memory: what offline work could hold, and what that costs it (pure)."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from valve_loadgen.plan import kv, memory
from valve_loadgen.plan.engine import Engine
from valve_loadgen.plan.kernel import Outcome
from valve_loadgen.plan.memory import MakePolicy, Replay
from valve_loadgen.plan.requests import Requests
from valve_loadgen.plan.splits import PREALLOCATED, Prealloc, at_peak

BUDGET = 200_000
"""Changes of usage that are replayed: about a second for each policy."""
HEADINGS = (
    "KV memory",
    "offline\nholds",
    "reclaims\nper hour",
    "most in\nan hour",
    "pages lost\nper hour",
    "online waits\nper hour",
)
VALVE, READY, PEAK = "valve", "prealloc", "split_at_peak"
TITLES = {
    VALVE: "Valve's reservation",
    READY: f"{PREALLOCATED[0]} to {PREALLOCATED[1]} pages kept ready",
    PEAK: "fixed split at the peak, known in hindsight",
}


@dataclass(frozen=True)
class MemoryPlan:
    """The same usage under each policy. Figures per hour are of one replica."""

    replays: dict[str, Replay]
    replicas: int
    """How many of the fleet were replayed, each for `hours`."""
    hours: float
    total_pages: int

    def as_json(self) -> dict[str, Any]:
        return {
            "replicas": self.replicas,
            "hours": self.hours,
            "kv_pages": self.total_pages,
            "policies": {name: replay.as_json() for name, replay in self.replays.items()},
        }

    def rows(self) -> Iterable[list[str]]:
        """The table's cells."""
        return [[TITLES[name], *_cells(replay)] for name, replay in self.replays.items()]

    @property
    def sentence(self) -> str:
        return (
            f"KV memory of {self.total_pages} pages of 2 MiB, shared by an online and an offline engine; "
            f"{self.replicas} replicas replayed for {self.hours:.3g} hours, from a start that knows nothing."
        )


def memory_plan(
    requests: Requests, outcome: Outcome, engine: Engine, policy: MakePolicy | None
) -> MemoryPlan:
    """`policy`: Valve's, which the load generator does not know; None: the others only."""
    usages = list(kv.usages(requests, outcome, engine, BUDGET).values())
    total = engine.kv_pages
    replays = {} if policy is None else {VALVE: memory.replay(usages, policy, total, announced=True)}
    replays[READY] = memory.replay(usages, lambda _: Prealloc(), total, announced=False)
    replays[PEAK] = memory.replay(usages, at_peak, total, announced=False)
    return MemoryPlan(replays, len(usages), usages[0].span_s / 3600, total)


def _cells(replay: Replay) -> list[str]:
    return [
        f"{replay.offline_share:.1%}",
        f"{replay.reclaims_per_hour:,.1f}",
        f"{replay.most_in_an_hour:,}",
        f"{replay.reclaimed / replay.hours:,.0f}",
        f"{replay.stalls / replay.hours:,.1f}",
    ]
