"""Which signals insist, without a tree."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from signal import SIGHUP, SIGINT, SIGQUIT, SIGTERM, Signals

import pytest

from valve_runtime.spawn import Family
from valve_runtime.watch import Watch


class Tenant:
    """One whose gate is where the test says."""

    period = 0
    kills = 0

    def stop_period(self) -> int:
        return self.period

    def kill(self) -> None:
        self.kills += 1

    def look_after_seat(self) -> None:
        pass


@pytest.fixture
def main_pid() -> Iterator[int]:
    """A process that gets what is passed on."""
    with subprocess.Popen(["sleep", "60"]) as process:
        yield process.pid
        process.kill()


@pytest.mark.parametrize(
    ("sent", "kills"),
    [
        ([(SIGHUP, 0)] * 9, False),
        ([(SIGINT, 0)] * 2, False),
        ([(SIGTERM, 0)] * 2, True),
        ([(SIGTERM, 0), (SIGHUP, 0)], False),
        ([(SIGHUP, 0), (SIGTERM, 0)], False),
        ([(SIGTERM, 0), (SIGTERM, 3)], True),
        ([(SIGTERM, 3), (SIGTERM, 0)], True),
        ([(SIGHUP, 3), (SIGHUP, 3)], True),
        ([(SIGINT, 3), (SIGQUIT, 3)], True),
        ([(SIGHUP, 3), (SIGHUP, 4)], False),
        ([(SIGHUP, 0), (SIGHUP, 3)], False),
        ([(SIGHUP, 3), (SIGHUP, 0)], False),
    ],
)
@pytest.mark.parametrize("from_terminal", [True, False])
def test_what_insists_kills(
    main_pid: int, sent: list[tuple[Signals, int]], kills: bool, from_terminal: bool
) -> None:
    """`sent`: each signal with the stop period in which it comes, 0 while the tree runs."""
    tenant = Tenant()
    watch = Watch(Family(main_pid, 0, -1, -1, -1), tenant, frozenset(), None)
    for number, tenant.period in sent[:-1]:
        watch._answer(number, from_terminal=from_terminal)
        assert not tenant.kills
    number, tenant.period = sent[-1]
    watch._answer(number, from_terminal=from_terminal)
    assert bool(tenant.kills) is kills
