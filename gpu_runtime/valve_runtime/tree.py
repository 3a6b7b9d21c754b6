"""A job's process tree seen from outside: who belongs to it, and how it is brought to its end."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

MARKER = "VALVE_JOB"
GRACE_S = 5.0  # between SIGTERM and SIGKILL
KILL_DEADLINE_S = 5.0  # then it hangs in the kernel, or is not ours to kill
POLL_S = 0.02


@dataclass(frozen=True, slots=True)
class Process:
    """A pid and its start time (field 22 of /proc/PID/stat): together they name a process for good."""

    pid: int
    ticks: int

    def is_alive(self) -> bool:
        """False for a zombie, and for another process that has the pid by now."""
        return self.ticks > 0 and start_ticks(self.pid) == self.ticks


class Tree(Protocol):
    """What `end` needs to know of a tree."""

    def signal(self, number: signal.Signals) -> None:
        """To every process of it."""

    def thaw(self) -> None:
        """Undoes a freezer that has no master any more."""

    def is_gone(self) -> bool:
        """No process of it is left."""


def end(tree: Tree, grace_s: float = GRACE_S) -> bool:
    """Asks the tree to end, and after the grace makes sure. False: something of it cannot be killed.

    SIGTERM comes before the thaw: whatever does not handle it ends without having computed any more.
    """
    tree.signal(signal.SIGTERM)
    tree.thaw()
    tree.signal(signal.SIGCONT)
    if _wait_until_gone(tree, grace_s):
        return True
    end_s = time.monotonic() + KILL_DEADLINE_S
    while time.monotonic() < end_s:
        tree.signal(signal.SIGKILL)
        if _wait_until_gone(tree, POLL_S):
            return True
    return False


def _wait_until_gone(tree: Tree, limit_s: float) -> bool:
    end_s = time.monotonic() + limit_s
    while not tree.is_gone():
        if time.monotonic() >= end_s:
            return False
        time.sleep(POLL_S)
    return True


def start_ticks(pid: int) -> int:
    """0 if there is no such process, or only a zombie."""
    fields = _stat(pid)
    return int(fields[19]) if fields and fields[0] not in "ZX" else 0


def identify(pids: Iterable[int]) -> tuple[Process, ...]:
    """Those that live."""
    return tuple(each for pid in sorted(pids) if (each := Process(pid, start_ticks(pid))).ticks)


def descendants(roots: Sequence[int]) -> set[int]:
    """Everything below the roots, without them. Works on kernels without lists of children, too."""
    children: dict[int, list[int]] = {}
    for pid in _all_pids():
        if fields := _stat(pid):
            children.setdefault(int(fields[1]), []).append(pid)
    found: set[int] = set()
    unvisited = list(roots)
    while unvisited:
        below = [pid for pid in children.get(unvisited.pop(), []) if pid not in found]
        found.update(below)
        unvisited.extend(below)
    return found


def marked(job_id: str) -> set[int]:
    """Every process whose initial environment says that it belongs to the job. Not to be relied on alone: a
    program that sets its title (vLLM does) overwrites what /proc shows of its environment."""
    wanted = f"{MARKER}={job_id}".encode(errors="replace")
    found = set()
    for pid in _all_pids():
        with contextlib.suppress(OSError):
            if wanted in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
                found.add(pid)
    return found


def ancestors_and_self() -> set[int]:
    """Us and those that wait for us: never to be ended by us, even if the job's marker was inherited."""
    return ancestors([os.getpid()])


def ancestors(pids: Iterable[int]) -> set[int]:
    """The processes given and everything above them."""
    found: set[int] = set()
    for each in pids:
        pid = each
        while pid and pid not in found:
            found.add(pid)
            fields = _stat(pid)
            pid = int(fields[1]) if fields else 0
    return found


def in_process_group(pids: Iterable[int], group: int) -> set[int]:
    found = set()
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            if os.getpgid(pid) == group:
                found.add(pid)
    return found


def signal_processes(pids: Iterable[int], number: signal.Signals) -> None:
    """Those that are gone or another user's are passed over."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)


def _all_pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]  # noqa: PTH208 (no Path per entry)


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat from the state (field 3) on; empty if it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return []
