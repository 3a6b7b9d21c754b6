"""Outlives `valve run`: if that dies without cleaning up, its tree is thawed and ended (docs/adr/0001).

`python -m valve_runtime.guardian RECORD MAIN_PID LIFE_FD REPORT_FD`, made by valve_runtime.spawn. `valve
run` holds the other end of the life pipe, so its death, however sudden, is the end of that file. The
guardian is the command's parent and the subreaper of all that comes from it: every process of the tree is
below it, also those that went into the background, changed their title or wiped their environment. It
stands outside of what is stopped (own session, not in the cgroup), and takes the command's wait status on
behalf of `valve run`.
"""

from __future__ import annotations

import os
import select
import signal
import sys

from . import cgroup as cgroups
from . import native, tree
from .notice import say
from .record import Record
from .spawn import REPORT, allow_descriptors, become_subreaper

# What a terminal or a service manager sends to everybody: `valve run` answers it, and we end with the tree.
IGNORED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGTSTP)


class Guardian:
    """Waits for the end of its tree or of `valve run`, whichever comes first. It is a tree.Tree itself."""

    def __init__(self, record: Record, main_pid: int, life_fd: int, report_fd: int) -> None:
        self._record, self._main_pid = record, main_pid
        self._life_fd, self._report_fd = life_fd, report_fd
        self._library = native.library()  # now: it may be replaced by the time it is needed
        self._wake_fd = _wake_on_child()

    def watch(self) -> None:
        """Returns when no process of the tree is left."""
        while not self.is_gone():
            ready, _, _ = select.select([self._life_fd, self._wake_fd], [], [])
            if self._life_fd in ready:
                self._finish()
                return
            os.read(self._wake_fd, 4096)

    def _finish(self) -> None:
        """`valve run` was killed: without it the tree would compute ungated."""
        say(f"{self._record.job_id} has lost its `valve run`: ending it", speaker="valve")
        ended = tree.end(self)
        if self._record.cgroup_path is not None:
            cgroups.remove(self._record.cgroup_path)
        if ended:
            self._record.remove()

    def signal(self, number: signal.Signals) -> None:
        if number is signal.SIGKILL and self._record.cgroup_path is not None:
            cgroups.kill(self._record.cgroup_path)
        self._library.tree_signal(os.getpid(), 0, number)

    def thaw(self) -> None:
        if self._record.cgroup_path is not None:
            cgroups.thaw(self._record.cgroup_path)

    def is_gone(self) -> bool:
        """Takes in what has ended."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return True
            if pid == 0:
                return False
            if pid == self._main_pid:
                self._report(status)

    def _report(self, status: int) -> None:
        try:
            os.write(self._report_fd, REPORT.pack(status))
        except BrokenPipeError:
            pass  # nobody is left to know


def _wake_on_child() -> int:
    """A descriptor that can be read from whenever a child has ended."""
    read_fd, write_fd = os.pipe()
    os.set_blocking(write_fd, False)
    signal.set_wakeup_fd(write_fd, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})
    return read_fd


def main(arguments: list[str]) -> None:
    for number in IGNORED:
        signal.signal(number, signal.SIG_IGN)
    become_subreaper()
    allow_descriptors()
    record, numbers = Record.decode(arguments[0]), [int(text) for text in arguments[1:]]
    Guardian(record, *numbers).watch()


if __name__ == "__main__":
    main(sys.argv[1:])
