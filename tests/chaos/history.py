"""What a run leaves for the checker: who did what and when, in CLOCK_MONOTONIC ns; JSON in and out."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path

import orjson

HALTED, HELD = "compute_halted", "submission_stopped"  # valve_runtime.node.LEVELS


@dataclass(frozen=True, slots=True)
class Injection:
    """A fault as it happened. `begun_ns`: before anything was done to reach its state; `ended_ns`: everybody
    was back and no request was left.
    """

    number: int
    kind: str
    state: str
    effects: list[str]
    begun_ns: int
    ended_ns: int


@dataclass(frozen=True, slots=True)
class Exchange:
    """A request as its client saw it. `outcome`: exact, altered, cut, refused, left (the client went) or
    status_NNN. `meant`: whole, or broken where the engine was to break it; `first_ns` 0: nothing came.
    """

    request_id: str
    meant: str
    sent_ns: int
    first_ns: int
    last_ns: int
    ended_ns: int
    outcome: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Flight:
    """A request as the sidecar's event tells it."""

    request_id: str
    arrival_ns: int
    finished_ns: int
    closes_seen: int


@dataclass(frozen=True, slots=True)
class Change:
    """A tenant's entry in its ring: stopped, resumed or breather. `level`: what a stop promises."""

    tenant: str
    kind: str
    woken_ns: int
    done_ns: int
    level: str = HALTED


@dataclass(frozen=True, slots=True)
class Movement:
    """The tenant has computed at some moment strictly between the two."""

    tenant: str
    after_ns: int
    before_ns: int


@dataclass(frozen=True, slots=True)
class Recovery:
    """After a fault's end: how long it took until all was as it should be; `problem`: what was not."""

    number: int
    took_ms: float
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Census:
    """What there is while nothing happens: descriptors, processes, files, memory."""

    at_ns: int
    counts: dict[str, int]


@dataclass(slots=True)
class History:
    """Of one cast. `open_ns`: samples at which no live holder said closed."""

    cast: str
    seed: int
    injections: list[Injection] = field(default_factory=list)
    exchanges: list[Exchange] = field(default_factory=list)
    flights: list[Flight] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)
    movements: list[Movement] = field(default_factory=list)
    recoveries: list[Recovery] = field(default_factory=list)
    censuses: list[Census] = field(default_factory=list)
    open_ns: list[int] = field(default_factory=list)

    def write(self, path: Path) -> None:
        path.write_bytes(orjson.dumps(dataclasses.asdict(self)))

    @classmethod
    def read(cls, path: Path) -> History:
        content = orjson.loads(path.read_bytes())
        kinds = {
            "injections": Injection,
            "exchanges": Exchange,
            "flights": Flight,
            "changes": Change,
            "movements": Movement,
            "recoveries": Recovery,
            "censuses": Census,
        }
        lists = {name: [kind(**each) for each in content[name]] for name, kind in kinds.items()}
        return cls(content["cast"], content["seed"], open_ns=content["open_ns"], **lists)
