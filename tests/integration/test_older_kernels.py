"""Kernels and seccomp profiles that refuse what is new: what is needless is not missed, the rest is told."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from .stage import DEADLINE_S

pytestmark = pytest.mark.integration
PIDFD_SEND_SIGNAL, PIDFD_OPEN, PIDFD_GETFD, PROCESS_MADVISE, FUTEX_WAITV = 424, 434, 438, 440, 449
REFUSE = str(Path(__file__).with_name("refuse_calls.py"))


def run_without(directory: Path, *calls: int) -> subprocess.CompletedProcess[str]:
    """A tenant that writes "ran" and ends with 3."""
    tenant = ["run", "--runtime-dir", str(directory), "--device", "cpu", "--", "sh", "-c", "echo ran; exit 3"]
    command = [
        sys.executable,
        REFUSE,
        ",".join(map(str, calls)),
        sys.executable,
        "-m",
        "valve_sidecar",
        *tenant,
    ]
    done = subprocess.run(
        command, env=os.environ, text=True, capture_output=True, timeout=DEADLINE_S, check=False
    )
    if "no seccomp filter" in done.stderr:
        pytest.skip("no seccomp here")
    return done


def test_newer_calls_are_not_missed(tmp_path: Path) -> None:
    done = run_without(tmp_path, PIDFD_GETFD, PROCESS_MADVISE, FUTEX_WAITV)
    assert (done.returncode, done.stdout) == (3, "ran\n")


@pytest.mark.parametrize("call", [PIDFD_OPEN, PIDFD_SEND_SIGNAL])
def test_without_pidfds_nothing_is_started(tmp_path: Path, call: int) -> None:
    done = run_without(tmp_path, call)
    assert (done.returncode, done.stdout) == (1, "")
    assert "no process can be signalled safely here (pidfd: Function not implemented)" in done.stderr
    assert "Traceback" not in done.stderr
