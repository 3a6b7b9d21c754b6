"""Reads the tenants' acknowledgements from the node segment and tells which close each stop answers.

A stop belongs to the first of our closes that it can answer: generation not above the acknowledged one,
and above that
of the tenant's previous acknowledgement. With several sidecars on a device each sees its own closes only.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from valve_runtime.node import Ack, Node, TenantView

from .events import Record, printable
from .flight import Flight
from .logs import fields

log = logging.getLogger(__name__)

RECENT_CLOSES = 1024
COST_UP, COST_DOWN = 1.09, 0.9905  # steps of a quantile tracker: nine up weigh one down, so it is the 90th
Key = tuple[int, int]  # row and pid of a tenant


def generation_reached(generation: int, acknowledged: int) -> bool:
    """Whether `acknowledged` is `generation` or later; both are 32-bit and wrap."""
    return (acknowledged - generation) & 0xFFFF_FFFF < 0x8000_0000


@dataclass(slots=True)
class Close:
    """One closing of the gate by this worker, and the flight that caused it."""

    flight: Flight
    stopped: set[int] = field(default_factory=set)  # rows of the tenants that have answered


class Harvest:
    """Adds up the time in which at least one tenant ran. Pure."""

    def __init__(self) -> None:
        self._running: set[Key] = set()
        self._since_ns = self._total_ns = 0

    def total_ns(self, now_ns: int) -> int:
        return self._total_ns + (max(now_ns - self._since_ns, 0) if self._running else 0)

    def started(self, key: Key, t_ns: int) -> None:
        if not self._running:
            self._since_ns = t_ns
        self._running.add(key)

    def stopped(self, key: Key, t_ns: int) -> None:
        if self._running == {key}:
            self._total_ns += max(t_ns - self._since_ns, 0)
        self._running.discard(key)


class Costs:
    """What a mechanism takes, by its acknowledgements, from awake to done: the 90th percentile. Pure."""

    def __init__(self) -> None:
        self._cost_ns = {"stopped": 0.0, "resumed": 0.0}

    def take(self, ack: Ack) -> None:
        if ack.kind not in self._cost_ns:
            return
        sample_ns, cost_ns = float(ack.done_ns - ack.woken_ns), self._cost_ns[ack.kind]
        step = COST_UP if sample_ns > cost_ns else COST_DOWN
        self._cost_ns[ack.kind] = cost_ns * step if cost_ns else sample_ns

    @property
    def ns(self) -> tuple[int, int]:
        """(stop, resume)"""
        return int(self._cost_ns["stopped"]), int(self._cost_ns["resumed"])


class Events(Protocol):
    """Where the tenants' acknowledgements are written down: either log."""

    def add(self, record: Record) -> None: ...


class TenantWatch:
    """Call `collect` now and then, off the requests' path: rows keep their last 64 acknowledgements."""

    def __init__(self, events: Events, on_latency: Callable[[int], None]) -> None:
        self._events, self._on_latency = events, on_latency
        self._closes: deque[Close] = deque(maxlen=RECENT_CLOSES)
        self._read: dict[Key, int] = {}  # acknowledgements read
        self._last_generation: dict[Key, int] = {}
        self._seen_ns: dict[Key, int] = {}  # since when
        self._harvest = Harvest()
        self._costs = Costs()
        self.missed = 0  # acknowledgements overwritten before they were read

    def closed(self, flight: Flight) -> None:
        """`flight` closed the gate; its generation is known."""
        self._closes.append(Close(flight))

    @property
    def costs_ns(self) -> tuple[int, int]:
        """What a stop and a resume take a tenant."""
        return self._costs.ns

    def harvested_ns(self, now_ns: int) -> int:
        """Time in which a tenant ran, since the first look."""
        return self._harvest.total_ns(now_ns)

    def collect(self, node: Node, now_ns: int) -> None:
        """Appends `stopped` and `resumed` events in their order; reports each stop's latency in ns."""
        tenants = node.tenants()
        self._forget({(tenant.row, tenant.pid) for tenant in tenants}, now_ns)
        fresh = [(tenant, ack) for tenant in tenants for ack in self._read_acks(node, tenant, now_ns)]
        for tenant, ack in sorted(fresh, key=lambda told: told[1].done_ns):
            self._take(tenant, ack)

    def _forget(self, present: set[Key], now_ns: int) -> None:
        for key in [key for key in self._read if key not in present]:
            del self._read[key]
            self._last_generation.pop(key, None)
            self._seen_ns.pop(key, None)
            self._harvest.stopped(key, now_ns)

    def _read_acks(self, node: Node, tenant: TenantView, now_ns: int) -> list[Ack]:
        key = (tenant.row, tenant.pid)
        known = key in self._read
        acks, self._read[key], dropped = node.acknowledgements(tenant.row, self._read.get(key, 0))
        if known:
            self.missed += dropped
        elif not acks:  # it runs: what it answers from now on is newer than this
            self._last_generation[key] = tenant.ack_generation
            self._seen_ns[key] = now_ns
            if not tenant.runner_pid:
                self._harvest.started(key, now_ns)
        return acks

    def _take(self, tenant: TenantView, ack: Ack) -> None:
        key, is_job = (tenant.row, tenant.pid), not tenant.runner_pid
        close = None
        if is_job and ack.kind == "stopped":
            self._harvest.stopped(key, ack.woken_ns)
            if ack.level == "compute_halted":
                close = self._join(key, ack)  # of a GPU job the last rank counts: `valve run` waits for it
        elif is_job:
            self._harvest.started(key, ack.done_ns)
        self._costs.take(ack)
        self._record(tenant, ack, close)
        self._last_generation[key] = ack.generation

    def _record(self, tenant: TenantView, ack: Ack, close: Close | None) -> None:
        record = {
            "kind": ack.kind,
            "t_ns": ack.done_ns,
            "generation": ack.generation,
            "woken_ns": ack.woken_ns,
            "job": tenant.job,
            "rank": tenant.rank,
            "row": tenant.row,
            "pid": tenant.pid,
            "mechanism": tenant.mechanism,
        }
        if ack.kind == "stopped":
            record["level"] = ack.level
        if close is not None:
            record |= caused_by(close.flight, ack.done_ns)
            latency_us = (ack.done_ns - close.flight.readable_ns) // 1000
            log.debug(
                "stopped %s rank %d in %d us",
                tenant.job,
                tenant.rank,
                latency_us,
                extra=fields(record | {"stop_level": ack.level}),
            )
        self._events.add(record)

    def _join(self, key: Key, ack: Ack) -> Close | None:
        previous = self._last_generation.get(key)
        if previous is None:  # it was stopped before we first saw it: nobody knows by which close
            return None
        for close in self._closes:
            generation = close.flight.generation
            if generation_reached(generation, previous) or not generation_reached(generation, ack.generation):
                continue
            return close if self._answers(close, key, ack) else None
        return None

    def _answers(self, close: Close, key: Key, ack: Ack) -> bool:
        readable_ns = close.flight.readable_ns
        if readable_ns < self._seen_ns.get(key, 0):  # it joined a closed gate: nobody waited for its stop
            return False
        if readable_ns > ack.done_ns or key[0] in close.stopped:
            return False
        close.stopped.add(key[0])
        latency_ns = ack.done_ns - readable_ns
        close.flight.preemption_ns = max(close.flight.preemption_ns, latency_ns)
        self._on_latency(latency_ns)
        return True


def caused_by(flight: Flight, halted_ns: int) -> dict[str, Any]:
    """What a stop's record says about the request that it answers."""
    record: dict[str, Any] = {
        "request_id": printable(flight.request_id),
        "readable_ns": flight.readable_ns,
        "latency_ns": halted_ns - flight.readable_ns,
    }
    if flight.trace is not None:
        record |= flight.trace.ids
    return record
