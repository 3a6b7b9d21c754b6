"""The guardian's two ends, without a `valve run`: we hold its life pipe ourselves."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from valve_runtime.record import Record
from valve_runtime.spawn import REPORT
from valve_runtime.tree import Process

# Becomes a guardian with a child, as valve_runtime.spawn does it.
FOUNDER = """
import os, signal, sys
record, life, report, *command = sys.argv[1:]
signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 30))
pid = os.fork()
if pid == 0:
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    os.execvp(command[0], command)
sys.argv[1:] = []
from valve_runtime.guardian import main
main([record, str(pid), life, report])
"""


class Watched:
    """A guardian of `command`, its life pipe and what it reports."""

    def __init__(self, directory: Path, *command: str) -> None:
        self.record = Record("unit", str(directory), "", Process(1, 1))
        self.record.write()
        life_read, self.life = os.pipe()
        self.report, report_write = os.pipe()
        arguments = [self.record.encode(), str(life_read), str(report_write), *command]
        self.process = subprocess.Popen(
            [sys.executable, "-c", FOUNDER, *arguments],
            pass_fds=[life_read, report_write],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        os.close(life_read)
        os.close(report_write)

    def ready(self) -> None:
        assert self.process.stdout
        assert self.process.stdout.readline() == "ready\n"

    def end(self) -> tuple[int, str | None]:
        """The command's exit code as reported, and what the guardian said."""
        _, err = self.process.communicate(timeout=60)
        assert self.process.returncode == 0
        (status,) = REPORT.unpack(os.read(self.report, REPORT.size))
        return os.waitstatus_to_exitcode(status), err


@pytest.fixture
def watch(tmp_path: Path) -> Callable[..., Watched]:
    return lambda *command: Watched(tmp_path, *command)


def test_it_reports_the_command_and_ends_with_the_tree(watch: Callable[..., Watched]) -> None:
    watched = watch("sh", "-c", "(sleep 0.3; echo late >&2) & exit 4")
    assert watched.end() == (4, "late\n")
    assert watched.record.path.exists(), "valve run removes it"


def test_it_ends_the_tree_when_valve_run_has_died(watch: Callable[..., Watched]) -> None:
    watched = watch("sh", "-c", "setsid sleep 60 & echo ready; exec sleep 60")
    watched.ready()
    os.close(watched.life)
    assert watched.end() == (-15, "valve: unit has lost its `valve run`: ending it\n")
    assert not watched.record.path.exists()


def test_it_continues_what_was_stopped_so_that_it_can_end_itself(watch: Callable[..., Watched]) -> None:
    watched = watch("sh", "-c", "trap 'echo bye >&2; exit 3' TERM; echo ready; kill -STOP $$; sleep 60")
    watched.ready()
    os.close(watched.life)
    code, err = watched.end()
    assert code == 3
    assert err
    assert err.endswith("bye\n")


def test_it_ends_the_tree_although_nobody_hears_it(watch: Callable[..., Watched]) -> None:
    watched = watch("sh", "-c", "echo ready; kill -STOP $$; sleep 60")
    watched.ready()
    assert watched.process.stderr
    watched.process.stderr.close()
    watched.process.stderr = None
    os.close(watched.life)
    assert watched.end() == (-15, None)
    assert not watched.record.path.exists()


def test_it_takes_every_descriptor_that_it_may_have(watch: Callable[..., Watched]) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 256), hard))
    try:
        watched = watch("sh", "-c", "read line; sleep 60")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    while resource.prlimit(watched.process.pid, resource.RLIMIT_NOFILE) != (hard, hard):
        assert watched.process.poll() is None
        time.sleep(0.01)
    os.close(watched.life)
    watched.end()


def test_terminal_signals_do_not_end_it(watch: Callable[..., Watched]) -> None:
    watched = watch("sh", "-c", "trap '' INT HUP TERM; echo ready; read line; exit 6")
    watched.ready()
    for number in (2, 1, 15):
        watched.process.send_signal(number)
    os.close(watched.life)
    code, _ = watched.end()
    assert code in (6, -9)
