"""Whether all of a cast is as it should be while nothing is in flight."""

from __future__ import annotations

import time

from .stage import Stage

LOOK_S = 0.005


class Welfare:
    def __init__(self, stage: Stage) -> None:
        self._stage = stage

    def wait(self, limit_s: float) -> tuple[float, str]:
        """(how long it took in ms, what is still wrong)."""
        begun_s = time.monotonic()
        while (problem := self._problem(begun_s)) and time.monotonic() < begun_s + limit_s:
            time.sleep(LOOK_S)
        return (time.monotonic() - begun_s) * 1e3, problem

    def _problem(self, since_s: float) -> str:
        return self._of_holders() or self._of_tenants() or self._of_movement(since_s)

    def _of_holders(self) -> str:
        holders, expected = self._stage.observer.holders, self._stage.cast.workers
        pids = sorted(self._stage.players.sidecar.worker_pids())
        if sorted(row.pid for row in holders) != pids or len(pids) != expected:
            return f"holders are {[row.pid for row in holders]}, workers {pids}"
        bad = [row for row in holders if row.lease_remaining_ms <= 0 or row.closed or row.in_flight]
        return f"not open and live: {bad}" if bad else ""

    def _of_tenants(self) -> str:
        runs = self._stage.runs()
        if [row.pid for row in runs] != [self._stage.players.tenant.pid]:
            return f"tenants are {[row.pid for row in runs]}, not {self._stage.players.tenant.pid}"
        if len(self._stage.ranks()) != 2 * self._stage.cast.gpu:
            return f"ranks are {self._stage.ranks()}"
        bad = [row for row in self._stage.observer.tenants if row.state != "running"]
        return f"not running: {bad}" if bad else ""

    def _of_movement(self, since_s: float) -> str:
        """Each process of the tenant has computed since."""
        name = f"run-{self._stage.players.tenant.pid}"
        late = self._stage.history.movements[-200:]
        moved = [each for each in late if each.tenant == name and each.after_ns > since_s * 1e9]
        return "" if len(moved) >= 2 else "the tenant does not compute"
