"""The doctor's self-test of a GPU: stops and resumes a real GPU program for two seconds, as tenants are.

The program runs in a child with the preload shim, in a node segment of its own; we hold the gate.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from . import shim
from .errors import ValveRuntimeError
from .node import Ack, Holder, Node, Side, TenantView

SECONDS = 2.0
START_S = 30.0  # creating a context takes seconds on a machine with many GPUs
STOP_S = 2.0
RUN_S = 0.002  # between two stops

Found = TypeVar("Found")


class SelfTestError(ValveRuntimeError):
    """The self-test did not come to an end; the message says how far it came."""


@dataclass(frozen=True, slots=True)
class SelfTest:
    """What stopped the program, and how fast; times from the gate's change to the acknowledgement. `moved`:
    stops in which the GPU went on although its halt was acknowledged.
    """

    mechanism: str
    level: str
    channels: int
    refusals: int
    stop_us: tuple[float, ...]
    resume_us: tuple[float, ...]
    moved: int = 0

    def describe(self) -> str:
        stop, resume = _percentiles(self.stop_us), _percentiles(self.resume_us)
        return (
            f"{self.mechanism} ({self.level.replace('_', ' ')}; {self._controls()}), "
            f"{self.channels} channels; stop {stop}, resume {resume} over {len(self.stop_us)} stops"
        )

    def _controls(self) -> str:
        """The shim goes on to the second control when the first is refused, and to launches after both."""
        if self.mechanism != "channels":
            return "FIFO_DISABLE_CHANNELS and GPFIFO_SCHEDULE refused"
        refused = "GPFIFO_SCHEDULE permitted, FIFO_DISABLE_CHANNELS refused"
        return refused if self.refusals else "FIFO_DISABLE_CHANNELS permitted"


def run_selftest(device: str, seconds: float = SECONDS) -> SelfTest:
    """`device` is a GPU's UUID. Raises SelfTestError."""
    with tempfile.TemporaryDirectory(prefix="valve-doctor-") as name:
        directory = Path(name)
        with Node.open(directory, Side.HOLDER) as node, Node.open(directory, Side.TENANT):
            holder = Holder.register(node, "valve doctor", (device,))
            with _victim(directory, device) as child:
                return _measure(node, holder, child, seconds)


@contextmanager
def _victim(directory: Path, device: str) -> Iterator[subprocess.Popen[str]]:
    """Ready and computing; killed at the end, whatever has happened."""
    child = subprocess.Popen(
        [sys.executable, "-m", "valve_runtime.gpu_victim"],
        env=_environment(directory, device),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        _wait_ready(child)
        yield child
    finally:
        child.kill()
        child.communicate()


def _environment(directory: Path, device: str) -> dict[str, str]:
    library = shim.find_library()
    if library is None:
        raise SelfTestError(f"there is no {shim.LIBRARY_NAME} beside libvalve.so; run `make native`")
    base = os.environ | {"CUDA_VISIBLE_DEVICES": device}
    return base | shim.Order(directory, "doctor", os.getpid(), (device,)).environment(library, base)


def _wait_ready(child: subprocess.Popen[str]) -> None:
    assert child.stdout
    os.set_blocking(child.stdout.fileno(), False)
    said = _wait(child.stdout.readline, START_S, "the GPU program does not start")
    if said != "ready\n":
        raise SelfTestError(f"a GPU program cannot run here: {said.strip()}")


def _measure(node: Node, holder: Holder, child: subprocess.Popen[str], seconds: float) -> SelfTest:
    missing = "the shim saw no GPU channel (see docs/gpu-todo.md)"
    row = _wait(lambda: _rank(node, child.pid), STOP_S, missing).row
    stops, resumes, level, moved = [], [], "", 0
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        stop_us, level = _time_change(node, row, "stopped", holder.close_gate)
        stops.append(stop_us)
        moved += level == "compute_halted" and _has_moved(child)
        resumes.append(_time_change(node, row, "resumed", holder.open_gate)[0])
        holder.renew()
        time.sleep(RUN_S)
    rank = _rank(node, child.pid)
    if rank is None:
        raise SelfTestError("the GPU program died while it was stopped and resumed")
    return SelfTest(rank.mechanism, level, rank.channels, rank.refusals, tuple(stops), tuple(resumes), moved)


def _has_moved(child: subprocess.Popen[str]) -> bool:
    assert child.stdin
    assert child.stdout
    try:
        child.stdin.write("look\n")
        child.stdin.flush()
    except BrokenPipeError:
        raise SelfTestError("the GPU program died while it was stopped") from None
    return _wait(child.stdout.readline, STOP_S, "the stopped GPU program does not answer") != "still\n"


def _rank(node: Node, pid: int) -> TenantView | None:
    return next((row for row in node.tenants() if row.pid == pid and row.alive), None)


def _time_change(node: Node, row: int, kind: str, change: Callable[[], int]) -> tuple[float, str]:
    """Microseconds to its acknowledgement, and the level of that."""
    asked_ns = time.monotonic_ns()
    generation = change()
    ack = _wait(lambda: _answer(node, row, kind, generation), STOP_S, f"the GPU program is not {kind}")
    return (ack.done_ns - asked_ns) / 1000, ack.level


def _answer(node: Node, row: int, kind: str, generation: int) -> Ack | None:
    acks, _, _ = node.acknowledgements(row, 0)
    return next((ack for ack in reversed(acks) if ack.generation == generation and ack.kind == kind), None)


def _wait(look: Callable[[], Found | None], seconds: float, otherwise: str) -> Found:
    end = time.monotonic() + seconds
    while not (found := look()):
        if time.monotonic() > end:
            raise SelfTestError(f"{otherwise} within {seconds:g} s")
        time.sleep(0.0005)
    return found


def _percentiles(values_us: tuple[float, ...]) -> str:
    cuts = (
        statistics.quantiles(values_us, n=100, method="inclusive") if len(values_us) > 1 else values_us * 99
    )
    return f"p50 {cuts[49]:.0f} p99 {cuts[98]:.0f} us"
