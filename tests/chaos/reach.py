"""How each state is reached, so that a fault can be injected in it."""
# ruff: noqa: ARG001 - all have one signature

from __future__ import annotations

import time
from collections.abc import Callable
from signal import SIGCONT, SIGKILL, SIGSTOP, SIGTERM

from integration.stage import wait_until

from .players import COOLDOWN_MS
from .scenario import Step
from .stage import Stage

HINDERED_MS = 300  # how long a rank takes to stop
LINGER_MS = 600


def reach(stage: Stage, step: Step) -> None:
    """Brings the stage into the step's state. From there things take their course."""
    STATES[step.state](stage, step)


def stay_open(stage: Stage, step: Step) -> None:
    time.sleep(step.jitter * 0.02)


def closing(stage: Stage, step: Step) -> None:
    """Somewhere between the request's first byte and the last rank's stop."""
    stage.send(hold=True)
    time.sleep(step.jitter * 0.003)


def closed(stage: Stage, step: Step) -> None:
    stage.wait_begun(stage.send(hold=True))
    stage.wait_stopped()
    time.sleep(step.jitter * 0.01)


def asking(stage: Stage, step: Step) -> None:
    """The client has gone, and the engine is not done."""
    request = stage.send(hold=True, linger_ms=LINGER_MS)
    stage.wait_begun(request)
    stage.players.clients.leave(request)
    time.sleep(0.01 + step.jitter * 0.1)


def cooling(stage: Stage, step: Step) -> None:
    stage.wait_ended(stage.send(tokens=2))
    time.sleep(step.jitter * COOLDOWN_MS / 1e3 * 0.9)


def resuming(stage: Stage, step: Step) -> None:
    """Within some milliseconds of the opening."""
    stage.wait_ended(stage.send(tokens=2))
    time.sleep(COOLDOWN_MS / 1e3 - 0.003 + step.jitter * 0.006)


def stopping(stage: Stage, step: Step) -> None:
    """What is to be stopped resists."""
    stage.hinder(True)
    stage.wait_begun(stage.send(hold=True))
    time.sleep(step.jitter * 0.02)


def breathing(stage: Stage, step: Step) -> None:
    stage.wait_begun(stage.send(hold=True))
    wait_until(lambda: any(row.state == "breathing" for row in stage.observer.tenants), "it breathes")
    time.sleep(step.jitter * 0.5)


def starting(stage: Stage, step: Step) -> None:
    """The sidecar comes back after a crash, beside requests that try again."""
    stage.players.sidecar.end(SIGKILL)
    stage.players.sidecar = stage.players.new_sidecar()
    time.sleep(step.jitter * 0.6)


def draining(stage: Stage, step: Step) -> None:
    request = stage.send(hold=True)
    stage.wait_begun(request)
    stage.players.sidecar.process.send_signal(SIGTERM)
    stage.expect_end(stage.players.sidecar.process)
    time.sleep(step.jitter * 0.05)


def lapsed(stage: Stage, step: Step) -> None:
    """A worker stands still with the gate closed, for longer than its lease."""
    stage.wait_begun(stage.send(hold=True))
    pids = stage.players.sidecar.worker_pids()
    stage.signal(pids, SIGSTOP)
    wait_until(lambda: all(row.lease_remaining_ms < 0 for row in stage.observer.holders), "the lease is over")
    time.sleep(step.jitter * 0.02)
    stage.later(lambda: stage.signal(pids, SIGCONT))


STATES: dict[str, Callable[[Stage, Step], None]] = {
    "open": stay_open,
    "closing": closing,
    "closed": closed,
    "asking": asking,
    "cooling": cooling,
    "stopping": stopping,
    "resuming": resuming,
    "breathing": breathing,
    "starting": starting,
    "draining": draining,
    "lapsed": lapsed,
}
