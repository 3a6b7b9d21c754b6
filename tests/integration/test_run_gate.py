"""A whole process tree under `valve run` obeys the gate, by either freezer."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any

import pytest

from .run_job import GateKeeper, Job
from .stage import DEADLINE_S, wait_until

pytestmark = pytest.mark.integration
StartJob = Callable[..., Job]


def test_the_whole_tree_stops_and_runs_again(start_job: StartJob, gate: GateKeeper, way: str) -> None:
    job = start_job()
    job.wait_progress()
    for _ in range(3):
        gate.close_gate()
        row = job.wait_state("stopped")
        assert row.mechanism == f"freezer_{way}"
        assert row.ack_level == "compute_halted"
        wait_until(lambda: (now := job.row()) and now.processes >= 3, "its processes are counted")
        job.assert_still()
        gate.open_gate()
        job.wait_progress()
    assert job.row().escalations == 0  # type: ignore[union-attr]


def test_a_tenant_that_joins_while_the_gate_is_closed_starts_stopped(
    start_job: StartJob, gate: GateKeeper
) -> None:
    gate.close_gate()
    job = start_job()
    job.wait_state("stopped")
    assert job.counts() == [0, 0, 0]
    job.assert_still()
    gate.open_gate()
    job.wait_progress()


def test_a_killed_holder_lets_the_tenant_run_again(start_job: StartJob, gate: GateKeeper) -> None:
    job = start_job()
    job.wait_progress()
    gate.close_gate()
    job.wait_state("stopped")
    gate.process.kill()
    job.wait_state("running")
    job.wait_progress()


def test_a_foreign_sigcont_is_answered(start_job: StartJob, gate: GateKeeper, way: str) -> None:
    job = start_job()
    job.wait_progress()
    gate.close_gate()
    job.wait_state("stopped")
    for pid in job.processes():
        os.kill(pid, signal.SIGCONT)
    if way == "signal":
        wait_until(lambda: (row := job.row()) and row.foreign_resumes >= 3, "the resumes are counted")
    job.wait_state("stopped")
    job.assert_still()


def test_exit_code_standard_streams_and_arguments_pass_through(start_job: StartJob) -> None:
    script = 'read line; echo "out $line $1"; echo err >&2; exit 7'
    job = start_job("sh", "-c", script, "sh", "two words", stdin=-1)
    assert job.wait("in\n") == (7, "out in two words\n", "err\n")


@pytest.mark.parametrize(
    ("command", "code", "message"),
    [
        (["sh", "-c", "kill -9 $$"], 137, ""),
        (["no-such-command"], 127, "valve run: cannot run 'no-such-command': No such file or directory\n"),
        (["/etc/passwd"], 126, "valve run: cannot run '/etc/passwd': Permission denied\n"),
    ],
)
def test_codes_and_errors_are_a_shells(
    start_job: StartJob, command: list[str], code: int, message: str
) -> None:
    assert start_job(*command).wait() == (code, "", message)


def test_what_outlives_the_command_keeps_the_run_alive(start_job: StartJob) -> None:
    job = start_job("sh", "-c", "(sleep 0.5; echo late) & echo early; exit 3")
    assert job.wait() == (3, "early\nlate\n", "")


def test_inherited_descriptors_and_signals_are_as_they_were(start_job: StartJob) -> None:
    read_fd, write_fd = os.pipe()
    # A shell that got SIGPIPE ignored would print an error and exit otherwise.
    job = start_job("sh", "-c", f"echo kept > /dev/fd/{write_fd}; yes | head -1", pass_fds=[write_fd])
    os.close(write_fd)
    assert job.wait() == (0, "y\n", "")
    with os.fdopen(read_fd) as pipe:
        assert pipe.read() == "kept\n"


def test_the_marker_is_in_the_environment(start_job: StartJob) -> None:
    code, out, _ = start_job("sh", "-c", "echo $VALVE_JOB").wait()
    assert code == 0
    assert out.startswith("job-")


def test_nothing_is_left_behind(start_job: StartJob, cgroups: Callable[[], set[Any]]) -> None:
    job = start_job("true")
    assert job.wait() == (0, "", "")
    assert job.records() == []
    assert not [path for path in cgroups() if path.name.endswith(f"-{job.pid}")]


def test_without_a_sidecar_it_says_so(start_job: StartJob) -> None:
    job = start_job("true")
    _, err = job.process.communicate(timeout=DEADLINE_S)
    assert err == job.ungated()


def test_with_a_sidecar_there_is_nothing_to_say(start_job: StartJob, gate: GateKeeper) -> None:
    job = start_job("true")
    _, err = job.process.communicate(timeout=DEADLINE_S)
    assert err == "", gate
