"""A job under `valve run` with witnesses in it, and a holder that closes its gate from another process."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from valve_runtime.errors import SegmentError
from valve_runtime.node import Node, Side, TenantView
from valve_runtime.record import folder
from valve_runtime.recovery import recover
from valve_runtime.tree import descendants, start_ticks

from .stage import DEADLINE_S, WITNESS, wait_until

HOLDER = """
import select, sys
from valve_runtime.node import Holder, Node, Side
holder = Holder.register(Node.open(sys.argv[1], Side.HOLDER), "test", (sys.argv[2],))
while True:
    print("ready", flush=True)
    while not select.select([sys.stdin], [], [], 0.2)[0]:
        holder.renew()
    holder.close_gate() if sys.stdin.readline() == "close\\n" else holder.open_gate()
"""

# A witness, one that is born later, and a daemon that left the session and wiped its environment.
FAMILY = f"""
import os, subprocess, sys, time
witness = {WITNESS!r}
if os.fork() == 0:
    time.sleep(0.2)
    os.execv(sys.executable, [sys.executable, "-c", witness, sys.argv[2]])
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.execve(sys.executable, [sys.executable, "-c", witness, sys.argv[3]], {{}})
    os._exit(0)
sys.argv[1:] = sys.argv[1:2]
exec(witness)
"""


class GateKeeper:
    """Another process that closes and opens the gate of a device, and can be killed."""

    def __init__(self, directory: Path, device: str = "cpu") -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", HOLDER, str(directory), device],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._wait()

    def close_gate(self) -> None:
        self._tell("close\n")

    def open_gate(self) -> None:
        self._tell("open\n")

    def end(self) -> None:
        self.process.kill()
        self.process.communicate(timeout=DEADLINE_S)

    def _tell(self, what: str) -> None:
        assert self.process.stdin
        self.process.stdin.write(what)
        self.process.stdin.flush()
        self._wait()

    def _wait(self) -> None:
        assert self.process.stdout
        assert self.process.stdout.readline() == "ready\n"


class Job:
    """A `valve run` of a command, by default a family of three witnesses."""

    def __init__(self, directory: Path, way: str, *command: str, **options: Any) -> None:
        self.directory = directory
        self.files = [directory / f"witness-{i}" for i in range(3)]
        for file in self.files:
            file.write_bytes(bytes(8))
        family = [sys.executable, "-c", FAMILY, *map(str, self.files)]
        driver = Path(__file__).with_name("run_driver.py")
        self.process = subprocess.Popen(
            [sys.executable, str(driver), str(directory), way, *(command or family)],
            **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True} | options,
        )
        self.pid = self.process.pid

    def row(self) -> TenantView | None:
        with contextlib.suppress(SegmentError), Node.open(self.directory, Side.OBSERVER) as node:
            return next((row for row in node.tenants() if row.pid == self.pid and row.alive), None)
        return None

    def wait_state(self, state: str) -> TenantView:
        def reached() -> TenantView | None:
            row = self.row()
            return row if row and row.state == state and row.ack_generation else None

        return wait_until(reached, f"the tenant is {state}")  # type: ignore[no-any-return]

    def counts(self) -> list[int]:
        return [int.from_bytes(file.read_bytes(), "little") for file in self.files]

    def wait_progress(self) -> None:
        before = self.counts()
        wait_until(
            lambda: all(now > then for now, then in zip(self.counts(), before, strict=True)), "all run"
        )

    def assert_still(self) -> None:
        """What is stopped cannot move, however long one looks."""
        before = self.counts()
        time.sleep(0.1)
        assert self.counts() == before

    def processes(self) -> set[int]:
        """The tree's, without the guardian."""
        return descendants([self.pid]) - {self.guardian()}

    def guardian(self) -> int:
        def found() -> int:
            for pid in descendants([self.pid]):
                command = Path(f"/proc/{pid}/cmdline")
                with contextlib.suppress(OSError):
                    if b"valve_runtime.guardian" in command.read_bytes():
                        return pid
            return 0

        return int(wait_until(found, "a guardian"))

    def records(self) -> list[Path]:
        return list(folder(self.directory).glob("*"))

    def wait(self, text: str | None = None) -> tuple[int, str, str]:
        """Exit code, standard output and error, without the line that says that there is no sidecar."""
        out, err = self.process.communicate(text, timeout=DEADLINE_S)
        return self.process.returncode, out, err.removeprefix(self.ungated())

    def ungated(self) -> str:
        """What is said first where no sidecar lives."""
        return f"valve run: no sidecar in {self.directory} yet: runs ungated until one starts\n"

    def kill(self) -> None:
        """kill -9 of `valve run`."""
        self.process.kill()
        self.process.wait(DEADLINE_S)

    def end(self) -> None:
        """Leaves nothing stopped behind, also after a failed test."""
        for pid in {self.pid, *descendants([self.pid])}:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait(DEADLINE_S)
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            if pipe:
                pipe.close()
        recover(self.directory)


def wait_gone(pids: set[int]) -> None:
    assert pids
    wait_until(lambda: not any(start_ticks(pid) for pid in pids), "every process of the job has ended")
