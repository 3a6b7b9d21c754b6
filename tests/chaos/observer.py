"""Looks at the node segment and at the tenant's ticks, fifty times a second, and writes down what it sees."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from pathlib import Path

from integration.fake_gpu import Board
from valve_runtime.errors import ValveRuntimeError
from valve_runtime.node import HolderView, Node, Side, TenantView

from .history import Change, History, Movement

PERIOD_S = 0.02
RING = 65536  # native/tests/programs/ticker.c
RINGS_AT = 8
RING_SIZE = 8 + 8 * RING


class Observer(threading.Thread):
    """`holders` and `tenants`: the living ones at the last look."""

    def __init__(self, directory: Path, history: History) -> None:
        super().__init__(daemon=True)
        self._directory, self._history = directory, history
        self._node: Node | None = None
        self._read: dict[tuple[int, int], int] = {}
        self._tenant = ""
        self._watched: list[Ticks | Beats] = []
        self._stopped = threading.Event()
        self._lock = threading.Lock()
        self.holders: list[HolderView] = []
        self.tenants: list[TenantView] = []
        self.start()

    def watch(self, tenant: str, file: Path, boards: list[Board]) -> None:
        """From now on this tenant's ticks."""
        with self._lock:
            if tenant == self._tenant:
                return
            self._tenant = tenant
            self._watched = [Beats(tenant, board) for board in boards] or [Ticks(tenant, file)]

    def run(self) -> None:
        while not self._stopped.wait(PERIOD_S):
            with contextlib.suppress(ValveRuntimeError):
                self.look()

    def look(self) -> None:
        """Raises ValveRuntimeError where there is no segment, or a damaged one."""
        with self._lock:
            for each in self._watched:
                self._history.movements += each.read()
            self._look_at_rows()

    def stop(self) -> None:
        self._stopped.set()
        self.join()
        if self._node:
            self._node.close()

    def _look_at_rows(self) -> None:
        node = self._node = self._node or Node.open(self._directory, Side.OBSERVER)
        at_ns = time.monotonic_ns()
        self.holders = [row for row in node.holders() if row.alive]
        if not any(row.closed and row.lease_remaining_ms > 0 for row in self.holders):
            self._history.open_ns.append(at_ns)
        self.tenants = [row for row in node.tenants() if row.alive]
        for row in self.tenants:
            self._read_acks(node, row)

    def _read_acks(self, node: Node, row: TenantView) -> None:
        key, name = (row.row, row.pid), f"{'rank' if row.runner_pid else 'run'}-{row.pid}"
        acks, self._read[key], _ = node.acknowledgements(row.row, self._read.get(key, 0))
        self._history.changes += [
            Change(name, ack.kind, ack.woken_ns, ack.done_ns, ack.level) for ack in acks
        ]


class Ticks:
    """Of a tenant on the CPU: when each of its processes has computed."""

    def __init__(self, tenant: str, file: Path) -> None:
        self._tenant, self._file = tenant, file
        self._counts = [0, 0]

    def read(self) -> list[Movement]:
        if not self._file.exists():
            return []
        with self._file.open("rb", buffering=0) as file:
            return [Movement(self._tenant, at, at) for i in range(2) for at in self._fresh(file.fileno(), i)]

    def _fresh(self, fd: int, index: int) -> list[int]:
        base = RINGS_AT + index * RING_SIZE
        begin, count = self._counts[index], int.from_bytes(os.pread(fd, 8, base), "little")
        self._counts[index] = count
        places = (number % RING for number in range(max(begin, count - RING), count))
        return [int.from_bytes(os.pread(fd, 8, base + 8 + 8 * place), "little") for place in places]


class Beats:
    """Of a rank: between which two looks it has computed."""

    def __init__(self, tenant: str, board: Board) -> None:
        self._tenant, self._board = tenant, board
        self._looked_ns, self._beat = time.monotonic_ns(), board.beat()

    def read(self) -> list[Movement]:
        after_ns, before = self._looked_ns, self._beat
        self._looked_ns, self._beat = time.monotonic_ns(), self._board.beat()
        moved = self._beat != before
        return [Movement(self._tenant, after_ns, time.monotonic_ns())] if moved else []
