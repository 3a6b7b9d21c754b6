"""Signals to `valve run` and from a terminal."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import termios
from collections.abc import Callable
from pathlib import Path

import pytest

from .run_job import GateKeeper, Job, wait_gone
from .stage import DEADLINE_S, wait_until

pytestmark = pytest.mark.integration
StartJob = Callable[..., Job]

# Says when it is ready; on SIGINT or SIGTERM counts, and exits with the count a little later.
COUNTER = """
import signal, sys, time
count = 0
def note(number, frame):
    global count
    count += 1
signal.signal(signal.SIGINT, note)
signal.signal(signal.SIGTERM, note)
print("ready", flush=True)
while not count:
    time.sleep(0.01)
time.sleep(0.5)
sys.exit(40 + count)
"""


def ready(job: Job) -> Job:
    assert job.process.stdout
    assert job.process.stdout.readline() == "ready\n"
    return job


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_valve_run_is_passed_on_once(start_job: StartJob, number: signal.Signals) -> None:
    job = ready(start_job(sys.executable, "-c", COUNTER))
    job.process.send_signal(number)
    assert job.wait() == (41, "", "")


def test_the_second_sigterm_kills_the_tree(start_job: StartJob) -> None:
    job = ready(start_job("sh", "-c", "trap 'echo ready' TERM; echo ready; while :; do sleep 0.1; done"))
    job.process.send_signal(signal.SIGTERM)
    ready(job)
    job.process.send_signal(signal.SIGTERM)
    assert job.wait() == (137, "", "")


def test_more_hang_ups_are_just_passed_on(start_job: StartJob) -> None:
    job = ready(start_job("sh", "-c", "trap 'echo ready' HUP; echo ready; while :; do sleep 0.1; done"))
    for _ in range(3):
        job.process.send_signal(signal.SIGHUP)
        ready(job)
    job.process.send_signal(signal.SIGTERM)
    assert job.wait() == (143, "", "")


def test_sigterm_while_stopped_waits_for_the_gate_and_says_so(start_job: StartJob, gate: GateKeeper) -> None:
    job = ready(start_job("sh", "-c", "echo ready; exec sleep 1000"))
    gate.close_gate()
    job.wait_state("stopped")
    job.process.send_signal(signal.SIGTERM)
    assert job.process.stderr
    assert "SIGTERM may have to wait" in job.process.stderr.readline()
    assert job.process.poll() is None
    gate.open_gate()
    assert job.wait() == (143, "", "")


def test_the_second_sigterm_while_stopped_kills_the_tree(
    start_job: StartJob, gate: GateKeeper, way: str
) -> None:
    job = start_job()
    job.wait_progress()
    gate.close_gate()
    job.wait_state("stopped")
    processes = job.processes()
    job.process.send_signal(signal.SIGTERM)
    assert job.process.stderr
    job.process.stderr.readline()
    job.process.send_signal(signal.SIGTERM)
    # A frozen process dies of a signal that it does not handle; one stopped by SIGSTOP only of SIGKILL.
    assert job.wait() == (143 if way == "cgroup" else 137, "", "")
    wait_gone(processes)


def test_after_the_command_signals_go_to_what_it_left(start_job: StartJob) -> None:
    job = ready(start_job("sh", "-c", "setsid sleep 1000 > /dev/null & echo ready"))
    assert job.process.stdout
    wait_until(lambda: len(job.processes()) == 1, "the shell has ended")
    job.process.send_signal(signal.SIGTERM)
    assert job.wait() == (0, "", "")


def test_an_ignored_signal_stays_ignored(start_job: StartJob) -> None:
    job = ready(
        start_job(
            "sh", "-c", "echo ready; read line", stdin=-1,
            preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN),  # as nohup does
        )
    )  # fmt: skip
    job.process.send_signal(signal.SIGHUP)
    job.process.send_signal(signal.SIGHUP)
    assert job.wait("\n") == (0, "", "")


def test_a_terminals_interrupt_reaches_the_command_once(tmp_path: Path) -> None:
    pid, terminal = pty.fork()
    if pid == 0:
        driver = str(Path(__file__).with_name("run_driver.py"))
        os.execv(
            sys.executable,
            [sys.executable, driver, str(tmp_path), "signal", sys.executable, "-c", COUNTER],
        )
    wait_until(lambda: b"ready" in os.read(terminal, 1024), "the command is ready")
    os.write(terminal, termios.tcgetattr(terminal)[6][termios.VINTR])
    _, status = os.waitpid(pid, 0)
    os.close(terminal)
    assert os.waitstatus_to_exitcode(status) == 41


def test_a_suspended_run_suspends_its_tree(start_job: StartJob) -> None:
    job = start_job()
    job.wait_progress()
    job.process.send_signal(signal.SIGTSTP)
    _, status = os.waitpid(job.pid, os.WUNTRACED)
    assert os.WIFSTOPPED(status)
    job.assert_still()
    job.process.send_signal(signal.SIGCONT)
    job.wait_progress()


# Each process has a child and ends; not for ever, in case nobody can catch it.
RELAY = """
import os, sys, time
fd, end_s, n = os.open(sys.argv[1], os.O_WRONLY), time.monotonic() + 10, 0
while time.monotonic() < end_s:
    if os.fork():
        os._exit(0)
    n += 1
    os.pwrite(fd, n.to_bytes(8, "little"), 0)
"""


def test_a_suspended_run_suspends_also_what_is_born_meanwhile(start_job: StartJob, tmp_path: Path) -> None:
    job = start_job(sys.executable, "-c", RELAY, str(tmp_path / "witness-0"))
    wait_until(lambda: job.counts()[0] > 20, "the relay runs")
    job.process.send_signal(signal.SIGTSTP)
    os.waitpid(job.pid, os.WUNTRACED)
    job.assert_still()
    before = job.counts()[0]
    job.process.send_signal(signal.SIGCONT)
    wait_until(lambda: job.counts()[0] > before, "the relay runs on")


def test_a_run_that_was_suspended_while_the_gate_closed_runs_on(
    start_job: StartJob, gate: GateKeeper
) -> None:
    job = start_job()
    job.wait_progress()
    job.process.send_signal(signal.SIGTSTP)
    os.waitpid(job.pid, os.WUNTRACED)
    gate.close_gate()
    job.process.send_signal(signal.SIGCONT)
    job.wait_state("stopped")
    job.assert_still()
    gate.open_gate()
    job.wait_progress()


def test_a_terminals_hang_up_ends_the_command(tmp_path: Path) -> None:
    pid, terminal = pty.fork()
    if pid == 0:
        driver = str(Path(__file__).with_name("run_driver.py"))
        os.execv(
            sys.executable,
            [sys.executable, driver, str(tmp_path), "signal", "sh", "-c", "echo ready; sleep 99"],
        )
    wait_until(lambda: b"ready" in os.read(terminal, 1024), "the command is ready")
    os.close(terminal)
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 128 + signal.SIGHUP


def test_names_need_not_be_text(tmp_path: Path) -> None:
    directory = os.fsencode(tmp_path) + b"/d\xff"
    command: list[str | bytes] = [
        sys.executable, "-m", "valve_sidecar", "run", "--job", b"j\xff", "--runtime-dir", directory, "--",
        "sh", "-c", 'echo "$1"; cat "$0"/jobs-*/*.json', directory, b"\xfe",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, check=False, timeout=DEADLINE_S)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(b"\xfe\n{")
    assert b"d\\udcff" in done.stdout, "the record"
    assert done.stderr.count(b"\n") == 1, "only that there is no sidecar"


def test_the_command_line_agrees(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "valve_sidecar",
        "run",
        "--runtime-dir",
        str(tmp_path),
        "--",
        "sh",
        "-c",
        "exit 9",
    ]
    assert subprocess.run(command, check=False, timeout=DEADLINE_S).returncode == 9
