"""The family that `valve run` starts: what each member shares, and who ends with whom."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from valve_runtime.tree import start_ticks

NO_SECOND_FORK = """
import errno, os, sys
from valve_runtime.spawn import spawn
fork, ours = os.fork, os.getpid()
def fork_once():
    if os.getpid() != ours:
        raise OSError(errno.EAGAIN, "no more")
    return fork()
os.fork = fork_once
try:
    spawn(["true"], {}, set(), "")
except OSError as error:
    print(error.errno == errno.EAGAIN, error.strerror == os.strerror(errno.EAGAIN))
"""

SCRIPT = """
import os, sys, time
from valve_runtime.record import Record
from valve_runtime.spawn import spawn
from valve_runtime.tree import Process
record = Record("unit", sys.argv[1], "", Process(os.getpid(), 1))
family = spawn(sys.argv[3:], os.environ | {"ADDED": "yes"}, set(), record.encode())
def describe(pid):
    print(os.getpgid(pid) == os.getpgrp(), os.getsid(pid) == os.getsid(0), flush=True)
describe(family.main_pid)
while os.getsid(family.guardian_pid) == os.getsid(0):  # it is about to leave
    time.sleep(0.01)
describe(family.guardian_pid)
if sys.argv[2] == "release":
    family.release()
    os.waitpid(family.guardian_pid, 0)
    print(os.waitstatus_to_exitcode(family.main_status()))
else:
    print(family.main_pid, family.guardian_pid)
"""


def start(tmp_path: Path, what: str, *command: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path), what, *command],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return done.stdout.splitlines()


def test_the_command_stays_with_its_caller_and_the_guardian_leaves(tmp_path: Path) -> None:
    lines = start(tmp_path, "release", "sh", "-c", "echo $ADDED; exit 5")
    assert lines[:2] == ["True True", "False False"]
    assert lines[2:] == ["yes", "5"]


@pytest.mark.parametrize(("number", "code"), [(9, "-9"), (15, "-15")])
def test_the_guardian_reports_a_signal(tmp_path: Path, number: int, code: str) -> None:
    assert start(tmp_path, "release", "sh", "-c", f"kill -{number} $$")[-1] == code


def test_without_a_release_the_command_never_begins(tmp_path: Path) -> None:
    lines = start(tmp_path, "abandon", "sh", "-c", "echo began")
    main, guardian = (int(text) for text in lines[2].split())
    assert "began" not in lines
    while start_ticks(main) or start_ticks(guardian):  # they hold our pipe until they end: they are ending
        time.sleep(0.01)


def test_a_command_that_cannot_be_forked_is_our_error() -> None:
    done = subprocess.run(
        [sys.executable, "-c", NO_SECOND_FORK], capture_output=True, text=True, timeout=60, check=True
    )
    assert (done.stdout, done.stderr) == ("True True\n", "")
