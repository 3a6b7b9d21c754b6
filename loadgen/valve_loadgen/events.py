"""Owns the join of the sidecar's events: which stop answered which close, for which request (pure)."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

Event = dict[str, Any]
Tenant = tuple[int, int]
"""(row, pid)"""


@dataclass(frozen=True)
class Stop:
    """One tenant's answer to a close: stopped, and later resumed. All stamps in CLOCK_MONOTONIC ns."""

    tenant: Tenant
    woken_ns: int
    stopped_ns: int
    resumed_ns: int | None = None
    resume_woken_ns: int | None = None
    resume_generation: int | None = None


@dataclass
class Preemption:
    """One close of the gate, the request that caused it, and every tenant's answer."""

    generation: int
    request_id: str
    close_ns: int
    readable_ns: int | None = None
    arrival_ns: int | None = None
    stops: list[Stop] = field(default_factory=list)

    @property
    def halted_ns(self) -> int | None:
        """The last tenant's acknowledgement; None when no tenant answered."""
        return max((stop.stopped_ns for stop in self.stops), default=None)

    @property
    def latency_ns(self) -> int | None:
        """Socket readable with the request's head -> the last tenant halted and acknowledged."""
        return _span(self.readable_ns, self.halted_ns)

    @property
    def parsed_to_stopped_ns(self) -> int | None:
        return _span(self.arrival_ns, self.halted_ns)


def _span(start_ns: int | None, end_ns: int | None) -> int | None:
    return None if not start_ns or end_ns is None else end_ns - start_ns


def generation_after(later: int, earlier: int) -> int:
    """Signed 32-bit difference: > 0 if `later` is newer, across the wrap."""
    return (later - earlier + 0x8000_0000) % 0x1_0000_0000 - 0x8000_0000


def of_kind(events: Iterable[Event], kind: str) -> list[Event]:
    return [event for event in events if event["kind"] == kind]


def tenant_events(events: Iterable[Event]) -> dict[Tenant, list[Event]]:
    """Each tenant's stopped and resumed events in order of time, without repeats (workers may tell twice)."""
    seen: dict[tuple[Any, ...], Event] = {}
    for event in events:
        if event["kind"] in ("stopped", "resumed"):
            key = (event["row"], event["pid"], event["kind"], event["generation"], event["t_ns"])
            seen.setdefault(key, event)
    result: dict[Tenant, list[Event]] = defaultdict(list)
    for event in sorted(seen.values(), key=lambda event: int(event["t_ns"])):
        result[event["row"], event["pid"]].append(event)
    return dict(result)


def preemptions(events: Sequence[Event]) -> list[Preemption]:
    """Every close, joined with the request that caused it and the stops that answered it."""
    requests = {event["request_id"]: event for event in of_kind(events, "request")}
    found = [_preemption(close, requests) for close in of_kind(events, "close")]
    found.sort(key=lambda preemption: preemption.close_ns)
    for tenant, told in tenant_events(events).items():
        _assign(found, tenant, told)
    return found


def _preemption(close: Event, requests: dict[str, Event]) -> Preemption:
    request = requests.get(close["request_id"], {})
    return Preemption(
        close["generation"],
        close["request_id"],
        close["t_ns"],
        request.get("readable_ns"),
        request.get("arrival_ns"),
    )


def _assign(found: Sequence[Preemption], tenant: Tenant, told: Sequence[Event]) -> None:
    before: int | None = None
    for index, event in enumerate(told):
        if event["kind"] == "stopped":
            answered = _answered(found, event["generation"], before)
            following = told[index + 1] if index + 1 < len(told) else None
            if answered:
                answered.stops.append(_stop(tenant, event, following))
        before = event["generation"]


def _answered(found: Sequence[Preemption], generation: int, before: int | None) -> Preemption | None:
    """The first close that is not newer than the stop but newer than the tenant's event before it.

    A tenant that has told nothing before has joined late: it answers the latest such close.
    """
    older = [close for close in found if generation_after(generation, close.generation) >= 0]
    if before is None:
        return older[-1] if older else None
    return next((close for close in older if generation_after(close.generation, before) > 0), None)


def _stop(tenant: Tenant, event: Event, following: Event | None) -> Stop:
    if following is None or following["kind"] != "resumed":
        return Stop(tenant, event["woken_ns"], event["t_ns"])
    return Stop(
        tenant,
        event["woken_ns"],
        event["t_ns"],
        following["t_ns"],
        following["woken_ns"],
        following["generation"],
    )


def stops_per_request(events: Sequence[Event]) -> dict[str, int]:
    """How often any one tenant was stopped between each request's arrival and its finish, by request id."""
    stops = {
        tenant: [event["t_ns"] for event in told if event["kind"] == "stopped"]
        for tenant, told in tenant_events(events).items()
    }
    counts: Counter[str] = Counter()
    for request in of_kind(events, "request"):
        begin, end = request["arrival_ns"], request["finished_ns"]
        inside = [sum(begin <= at_ns <= end for at_ns in stamps) for stamps in stops.values()]
        counts[request["request_id"]] = max(inside, default=0)
    return dict(counts)
