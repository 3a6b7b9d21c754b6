"""What is done to whom, and when: the kinds of faults, the states, the casts, and from a seed the list of
faults (pure).
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from itertools import cycle, islice

# What a kind, or a state that is reached by force, may do to requests that touch it.
LOST = "lost"  # in flight: cut; new ones: turned away
TURNED_AWAY = "turned_away"  # new ones only: refused, or told 502 or 503
UNANSWERED = "unanswered"  # new ones only: these, or their connection is closed
# ... and which promises do not hold meanwhile.
GATE = "gate"  # a tenant may run beside a request
STOP = "stop"  # a tenant may move although it has said that it is stopped
TWICE = "twice"  # a request may see a second preemption
Effects = frozenset[str]
NONE: Effects = frozenset()


@dataclass(frozen=True, slots=True)
class Kind:
    """`casts`: where it makes sense; empty: everywhere."""

    party: str
    effects: Effects = NONE
    casts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Cast:
    """Who plays: how the sidecar carries requests, and how the tenant is stopped."""

    name: str
    serve: tuple[str, ...] = ()
    workers: int = 1
    freezer: str = "cgroup"  # or "signal"
    gpu: bool = False
    max_stopped_s: float = 0.0
    traces: bool = False


CASTS = {
    cast.name: cast
    for cast in (
        Cast("alone"),
        Cast("team", serve=("--workers", "2"), workers=2, freezer="signal"),
        Cast("gpu", gpu=True),
        Cast("aiohttp", serve=("--data-plane", "aiohttp"), max_stopped_s=1.0, traces=True),
    )
}

SERVED = ("alone", "team", "aiohttp")  # the tenant is on the CPU
GONE = frozenset({LOST, GATE, TWICE})
AWAY = frozenset({TURNED_AWAY, GATE, TWICE})
FREE = frozenset({GATE, TWICE})
LOOSE = frozenset({GATE, STOP, TWICE})

LEFT_ALONE = {"kill_run", "kill_guardian"}  # what they leave stays as it is until the next valve command

KINDS: dict[str, Kind] = {
    # the sidecar's worker, and its supervisor
    "kill_worker": Kind("worker", GONE),
    "stop_worker": Kind("worker"),
    "restart_sidecar": Kind("worker", AWAY),
    "no_files_worker": Kind("worker", frozenset({UNANSWERED})),
    "no_memory_worker": Kind("worker", frozenset({UNANSWERED})),
    "starve_worker": Kind("worker"),
    "full_log": Kind("worker"),
    "stuck_admin": Kind("worker"),
    "kill_supervisor": Kind("supervisor", GONE, ("team",)),
    "stop_supervisor": Kind("supervisor", casts=("team",)),
    "kill_exporter": Kind("exporter", casts=("aiohttp",)),
    "stop_exporter": Kind("exporter", casts=("aiohttp",)),
    # `valve run` and its guardian
    "kill_run": Kind("run", LOOSE),  # its guardian lets the tree run to its end
    "stop_run": Kind("run", FREE),
    "restart_run": Kind("run", FREE),
    "no_files_run": Kind("run"),
    "starve_run": Kind("run", FREE),
    "kill_guardian": Kind("guardian"),
    "stop_guardian": Kind("guardian"),
    # the tenant's processes
    "kill_tenant": Kind("tenant", FREE),
    "stop_tenant": Kind("tenant", frozenset({STOP, TWICE})),  # its end continues what the gate has stopped
    "continue_tenant": Kind("tenant", LOOSE),
    "fork_tenant": Kind("tenant", frozenset({TWICE}), SERVED),
    "hinder_tenant": Kind("tenant", FREE, SERVED),
    "thaw_tenant": Kind("tenant", LOOSE, ("alone", "aiohttp")),
    "escape_tenant": Kind("tenant", LOOSE, ("alone", "aiohttp")),
    # ranks and the driver
    "kill_rank": Kind("tenant", FREE, ("gpu",)),
    "stop_rank": Kind("tenant", FREE, ("gpu",)),
    "rm_refuses": Kind("driver", FREE, ("gpu",)),
    "rm_delays": Kind("driver", FREE, ("gpu",)),
    # the engine and the clients
    "kill_engine": Kind("engine", frozenset({LOST})),
    "stop_engine": Kind("engine"),
    "engine_resets": Kind("engine"),
    "engine_half_answers": Kind("engine"),
    "engine_cuts_head": Kind("engine"),
    "engine_babbles": Kind("engine"),
    "engine_hangs": Kind("engine"),
    "kill_client": Kind("client"),
    "stop_client": Kind("client"),
    "clients_leave": Kind("client"),
    "client_dribbles": Kind("client"),
    # what they share
    "flip_generation": Kind("segment"),
    "scribble_holder": Kind("segment", LOOSE),
    "tear_holder": Kind("segment", LOOSE),
    "scribble_tenant": Kind("segment", LOOSE),
    "scribble_header": Kind("segment"),
    "remove_segment": Kind("segment", LOOSE, SERVED),  # ranks do not follow: their job is frozen from then on
    "full_tables": Kind("segment", FREE),
    "locked_segment": Kind("segment", FREE),
    "full_disk": Kind("machine"),
    "no_processes": Kind("machine", casts=SERVED),
    "clock_forward": Kind("machine"),
    "clock_back": Kind("machine"),
    "busy_machine": Kind("machine"),
}


@dataclass(frozen=True, slots=True)
class State:
    """`effects`: of the force by which it is reached."""

    effects: Effects = NONE
    casts: tuple[str, ...] = ()
    slow: bool = False  # takes seconds to reach


STATES: dict[str, State] = {
    "open": State(),  # the tenant runs
    "closing": State(),
    "closed": State(),  # the tenant is stopped
    "asking": State(),
    "cooling": State(),
    "stopping": State(FREE),
    "resuming": State(),
    "breathing": State(casts=("aiohttp",), slow=True),
    "starting": State(GONE),
    "draining": State(AWAY),
    "lapsed": State(FREE, slow=True),
}


@dataclass(frozen=True, slots=True)
class Step:
    """`kinds` of faults at once at `state`, `jitter` of that state's natural length late, for `hold_s`."""

    number: int
    state: str
    kinds: tuple[str, ...]
    jitter: float
    hold_s: float
    salt: int = 0

    @property
    def effects(self) -> Effects:
        both = LOOSE if LEFT_ALONE.issubset(self.kinds) else NONE
        return STATES[self.state].effects.union(both, *(KINDS[kind].effects for kind in self.kinds))


def matrix(cast: str) -> list[tuple[str, str]]:
    """Every kind at every state that this cast knows."""
    kinds = [name for name, kind in KINDS.items() if not kind.casts or cast in kind.casts]
    states = [name for name, state in STATES.items() if not state.casts or cast in state.casts]
    return [(kind, state) for kind in kinds for state in states]


def plan(cast: str, seed: int, count: int, *, slow: bool = True) -> list[Step]:
    """`count` faults, give or take one; each cell of the matrix comes up before any does again, and to each a
    second fault is drawn. `slow`: with states that take seconds to reach.
    """
    chance = random.Random(f"{cast}-{seed}")
    cells = [cell for cell in matrix(cast) if slow or not STATES[cell[1]].slow]
    others = sorted({kind for kind, _ in cells})
    chance.shuffle(cells)
    return [
        Step(
            number,
            state,
            (kind, chance.choice(others)),
            chance.random(),
            chance.uniform(0.02, 0.2),
            chance.getrandbits(32),
        )
        for number, (kind, state) in enumerate(islice(cycle(cells), (count + 1) // 2))
    ]
