"""Whoever of `valve run` and its guardian is killed: nothing stays stopped, nothing runs on ungated."""

from __future__ import annotations

import errno
import os
import resource
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from valve_runtime.native import TENANTS_MAX
from valve_runtime.node import Node, Side, Tenant
from valve_runtime.record import folder
from valve_runtime.recovery import recover
from valve_runtime.tree import descendants

from .run_job import GateKeeper, Job, wait_gone
from .stage import DEADLINE_S, wait_until

pytestmark = pytest.mark.integration
StartJob = Callable[..., Job]


@pytest.mark.parametrize("closed", [True, False])
def test_killed_run_ends_its_tree(
    start_job: StartJob, gate: GateKeeper, cgroups: Callable[[], set[Any]], closed: bool
) -> None:
    job = start_job()
    job.wait_progress()
    if closed:
        gate.close_gate()
        job.wait_state("stopped")
    processes, guardian = job.processes(), job.guardian()
    job.kill()
    wait_gone(processes | {guardian})
    assert job.records() == []
    assert not [path for path in cgroups() if path.name.endswith(f"-{job.pid}")]


def test_killed_run_ends_also_what_ignores_sigterm(start_job: StartJob, gate: GateKeeper) -> None:
    job = start_job("sh", "-c", "trap '' TERM; echo ready; while :; do sleep 1; done")
    assert job.process.stdout
    job.process.stdout.readline()
    gate.close_gate()
    job.wait_state("stopped")
    processes = job.processes()
    job.kill()
    wait_gone(processes)


def test_killed_run_ends_its_tree_although_nobody_reads_its_errors(
    start_job: StartJob, gate: GateKeeper
) -> None:
    job = start_job()
    job.wait_progress()
    gate.close_gate()
    job.wait_state("stopped")
    processes, guardian = job.processes(), job.guardian()
    assert job.process.stderr
    job.process.stderr.close()
    job.process.stderr = None
    job.kill()
    wait_gone(processes | {guardian})
    assert job.records() == []


def test_killed_guardian_is_survived(start_job: StartJob, gate: GateKeeper) -> None:
    job = start_job()
    job.wait_progress()
    os.kill(job.guardian(), signal.SIGKILL)
    assert job.process.stderr
    assert "the guardian was killed" in job.process.stderr.readline()
    gate.close_gate()
    job.wait_state("stopped")
    job.assert_still()
    gate.open_gate()
    job.wait_progress()
    job.process.send_signal(signal.SIGTERM)
    wait_until(lambda: len(descendants([job.pid])) == 2, "the command has ended")
    job.process.send_signal(signal.SIGTERM)
    assert job.wait() == (128 + signal.SIGTERM, "", "")


def test_both_killed_is_recovered(
    start_job: StartJob, gate: GateKeeper, cgroups: Callable[[], set[Any]], way: str
) -> None:
    job = start_job()
    job.wait_progress()
    if way == "signal":  # the record learns of the tree's processes now and then
        wait_until(lambda: job.records()[0].read_bytes().count(b"ticks") == 5, "a record of all processes")
    gate.close_gate()
    job.wait_state("stopped")
    processes, guardian = job.processes(), job.guardian()
    os.kill(guardian, signal.SIGKILL)
    job.kill()
    wait_gone({guardian})
    (message,) = recover(job.directory)
    assert "ended what was left of it" in message
    wait_gone(processes)
    assert job.records() == []
    assert not [path for path in cgroups() if path.name.endswith(f"-{job.pid}")]
    assert recover(job.directory) == []


def test_killed_before_the_command_began(start_job: StartJob, gate: GateKeeper) -> None:
    gate.close_gate()
    job = start_job()
    job.wait_state("stopped")
    processes = job.processes() | {job.guardian()}
    job.kill()
    wait_gone(processes)
    assert job.counts() == [0, 0, 0]


def test_full_table_is_refused(start_job: StartJob, tmp_path: Path) -> None:
    with Node.open(tmp_path, Side.TENANT) as node:
        for i in range(TENANTS_MAX):
            Tenant.register(node, f"t{i}", 0, ("cpu",))
        code, out, err = start_job("echo", "started").wait()
    assert code == 1
    assert out == ""
    assert err.startswith("valve: cannot gate job, so it was not started: no free row")


def test_no_record_can_be_written(start_job: StartJob, tmp_path: Path) -> None:
    folder(tmp_path).write_text("in the way")
    code, out, err = start_job("echo", "ran").wait()
    assert (code, out) == (0, "ran\n")
    assert "no recovery record" in err
    assert os.strerror(errno.EEXIST) in err or os.strerror(errno.ENOTDIR) in err


def run_as_nobody(directory: str, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, Path(__file__).with_name("run_driver.py"), directory, "signal", "true"],
        env=os.environ | {"VALVE_TEST_USER": "65534"},
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
        **options,
    )


@pytest.mark.skipif(os.getuid() != 0, reason="needs to change its user")
def test_no_permission_for_the_segment() -> None:
    with tempfile.TemporaryDirectory() as directory:
        Node.open(directory, Side.TENANT).close()
        done = run_as_nobody(directory)
    assert done.returncode == 1
    assert directory in done.stderr
    assert done.stderr.count("\n") == 1


def allow_no_process() -> None:
    resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))


@pytest.mark.skipif(os.getuid() != 0, reason="needs to change its user")
def test_no_process_may_be_made() -> None:
    with tempfile.TemporaryDirectory() as directory:
        os.chown(directory, 65534, 65534)
        done = run_as_nobody(directory, preexec_fn=allow_no_process)
    assert done.returncode == 1
    assert f"valve: cannot start true: {os.strerror(errno.EAGAIN)}; see `ulimit -u`" in done.stderr
    assert "Traceback" not in done.stderr


UNSHARE = ["unshare", "--pid", "--fork"]


def can_unshare() -> bool:
    return subprocess.run([*UNSHARE, "true"], check=False, capture_output=True).returncode == 0


@pytest.mark.skipif(os.getuid() != 0, reason="needs a pid namespace of its own")
@pytest.mark.parametrize("mount", [True, False])
def test_another_pid_namespace_needs_its_own_proc(tmp_path: Path, mount: bool) -> None:
    if not can_unshare():
        pytest.skip("no pid namespace can be made here")
    driver = str(Path(__file__).with_name("run_driver.py"))
    options = ["--mount-proc"] if mount else []
    command = [*UNSHARE, *options, sys.executable, driver, str(tmp_path), "signal", "echo", "ran"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE_S, check=False)
    assert (done.returncode, done.stdout) == ((0, "ran\n") if mount else (1, ""))
    assert ("--mount-proc" in done.stderr) is not mount
