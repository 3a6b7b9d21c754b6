"""Reads the tenants' acknowledgements from the node segment and tells which close each stop answers.

A stop belongs to the first of our closes that it can answer: generation not above the acknowledged one,
and above that
of the tenant's previous acknowledgement. With several sidecars on a device each sees its own closes only.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from valve_runtime.node import Ack, Node, TenantView

from .events import Record

RECENT_CLOSES = 1024


def generation_reached(generation: int, acknowledged: int) -> bool:
    """Whether `acknowledged` is `generation` or later; both are 32-bit and wrap."""
    return (acknowledged - generation) & 0xFFFF_FFFF < 0x8000_0000


@dataclass(slots=True)
class Close:
    """One closing of the gate by this worker."""

    generation: int
    readable_ns: int  # the request's head had reached us
    stop_ns: dict[int, int] = field(default_factory=dict)  # tenant row -> acknowledged


class Events(Protocol):
    """Where the tenants' acknowledgements are written down: either log."""

    def add(self, record: Record) -> None: ...


class TenantWatch:
    """Call `collect` now and then, off the requests' path: rows keep their last 64 acknowledgements."""

    def __init__(self, events: Events, on_latency: Callable[[int], None]) -> None:
        self._events, self._on_latency = events, on_latency
        self._closes: deque[Close] = deque(maxlen=RECENT_CLOSES)
        self._read: dict[tuple[int, int], int] = {}  # (row, pid) -> acknowledgements read
        self._last_generation: dict[tuple[int, int], int] = {}
        self.missed = 0  # acknowledgements overwritten before they were read

    def closed(self, generation: int, readable_ns: int) -> None:
        self._closes.append(Close(generation, readable_ns))

    def collect(self, node: Node) -> None:
        """Appends `stopped` and `resumed` events; reports each stop's latency in ns."""
        tenants = node.tenants()
        self._forget({(tenant.row, tenant.pid) for tenant in tenants})
        for tenant in tenants:
            self._collect_tenant(node, tenant)

    def _forget(self, present: set[tuple[int, int]]) -> None:
        for key in [key for key in self._read if key not in present]:
            del self._read[key]
            self._last_generation.pop(key, None)

    def _collect_tenant(self, node: Node, tenant: TenantView) -> None:
        key = (tenant.row, tenant.pid)
        known = key in self._read
        acks, self._read[key], dropped = node.acknowledgements(tenant.row, self._read.get(key, 0))
        if known:
            self.missed += dropped
        elif not acks:  # it runs: what it answers from now on is newer than this
            self._last_generation[key] = tenant.ack_generation
        for ack in acks:
            self._record(tenant, ack)
            if ack.kind == "stopped" and ack.level == "compute_halted" and not tenant.runner_pid:
                self._join(key, ack)  # of a GPU job the last rank counts, which is what `valve run` waits for
            self._last_generation[key] = ack.generation

    def _record(self, tenant: TenantView, ack: Ack) -> None:
        record = {
            "kind": ack.kind,
            "t_ns": ack.done_ns,
            "generation": ack.generation,
            "woken_ns": ack.woken_ns,
            "job": tenant.job,
            "rank": tenant.rank,
            "row": tenant.row,
            "pid": tenant.pid,
        }
        if ack.kind == "stopped":
            record |= {"level": ack.level, "mechanism": tenant.mechanism}
        self._events.add(record)

    def _join(self, key: tuple[int, int], ack: Ack) -> None:
        previous = self._last_generation.get(key)
        if previous is None:  # it was stopped before we first saw it: nobody knows by which close
            return
        for close in self._closes:
            new = not generation_reached(close.generation, previous)
            if new and generation_reached(close.generation, ack.generation):
                if close.readable_ns <= ack.done_ns and key[0] not in close.stop_ns:
                    close.stop_ns[key[0]] = ack.done_ns
                    self._on_latency(ack.done_ns - close.readable_ns)
                return
