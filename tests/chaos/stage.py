"""What states and faults act on: the players of one cast, the requests that are sent, and the observer."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from integration.stage import DEADLINE_S

from .answer import Plan
from .history import History
from .observer import Observer
from .players import Players, alive
from .scenario import Cast

REACH_S = 2.0  # what a state needs; one that is not reached is a fault at another state


class Stage:
    """`send` and what follows it never fail for a fault's reason: what became of a request is its record's
    matter. `upstream`: another engine for the sidecar than ours.
    """

    def __init__(self, cast: Cast, directory: Path, history: History, upstream: str = "") -> None:
        self.cast, self.history = cast, history
        self.observer = Observer(directory, history)
        self.players = Players(cast, directory, upstream)
        self._numbers = 0
        self._later: list[Callable[[], object]] = []
        self.restore()

    # ---- requests ----

    def send(self, *, dribble: bool = False, **options: Any) -> str:
        self._numbers += 1
        plan = Plan(f"{self.cast.name}-{self._numbers}", **options)
        return self.players.clients.send(self.players.sidecar.listen, plan, dribble=dribble)

    def wait_begun(self, request_id: str, limit_s: float = REACH_S) -> None:
        """Until its first token has come, or it has ended."""
        clients = self.players.clients
        self._wait(lambda: request_id in clients.begun or request_id not in clients.waiting, limit_s)

    def wait_ended(self, request_id: str) -> None:
        self._wait(lambda: request_id not in self.players.clients.waiting)

    def wait_stopped(self, limit_s: float = REACH_S) -> bool:
        """Whether `valve run` says so, or that it breathes."""

        def stopped() -> bool:
            return bool(self.runs()) and all(row.state in ("stopped", "breathing") for row in self.runs())

        self._wait(stopped, limit_s)
        return stopped()

    def _wait(self, condition: Callable[[], bool], limit_s: float = REACH_S) -> None:
        end_s = time.monotonic() + limit_s
        while not condition() and alive(self.players.clients.process) and time.monotonic() < end_s:
            time.sleep(0.001)

    def end_requests(self) -> str:
        """Lets everything end. What is left of it, for people; empty if nothing is."""
        clients, end_s = self.players.clients, time.monotonic() + DEADLINE_S
        while clients.waiting and alive(clients.process) and time.monotonic() < end_s:
            self.players.engine.release()
            time.sleep(0.02)
        self._collect()
        return (
            f"requests hang: {', '.join(clients.waiting)}"
            if clients.waiting and alive(clients.process)
            else ""
        )

    def _collect(self) -> None:
        while not self.players.clients.ended.empty():
            self.history.exchanges.append(self.players.clients.ended.get())

    # ---- tenants ----

    def runs(self) -> list[Any]:
        """The rows of `valve run`, without its ranks."""
        return [row for row in self.observer.tenants if not row.runner_pid]

    def ranks(self) -> list[int]:
        return [row.pid for row in self.observer.tenants if row.runner_pid]

    def hinder(self, yes: bool) -> None:
        """What is to be stopped takes long, until it need not any more."""
        if self.cast.gpu:
            self.players.tenant.switch.write_text("delay disable=300000\n" if yes else "")
        else:
            self.tell_tenant(0, int(yes))
        if yes:
            self.later(lambda: self.hinder(False))

    def tell_tenant(self, at: int, word: int) -> None:
        """A word at the beginning of the file of what ticks."""
        with contextlib.suppress(FileNotFoundError), self.players.tenant.file.open("r+b") as file:
            file.seek(at)
            file.write(word.to_bytes(4, "little"))

    # ---- the way back ----

    def signal(self, pids: Iterable[int], number: signal.Signals) -> None:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                if pid > 0:
                    os.kill(pid, number)

    def later(self, undo: Callable[[], object]) -> None:
        """To be done when the fault is over."""
        self._later.append(undo)

    def expect_end(self, process: subprocess.Popen[bytes]) -> None:
        """It was told to end, and does when what it carries has ended. That is seen last: whatever keeps it
        from that has to be undone before.
        """

        def see_off() -> None:
            self.end_requests()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(DEADLINE_S)

        self._later.insert(0, see_off)

    def restore(self) -> None:
        """What the state needed is undone, and whoever is gone comes back."""
        while self._later:
            self._later.pop()()
        self._collect()
        self.players.restore()
        tenant = self.players.tenant
        self.observer.watch(f"run-{tenant.pid}", tenant.file, tenant.boards)

    def close(self) -> None:
        self.observer.stop()
        self.players.end()
