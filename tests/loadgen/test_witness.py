"""The heartbeat: that it logs every stop of a real process, and that progress during a stop is found."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from valve_loadgen.errors import BenchError
from valve_loadgen.events import Stop
from valve_loadgen.heartbeat import LIBRARY, Beats, read_heartbeat
from valve_loadgen.witness import Witness

BEATING = """
import sys, time
from pathlib import Path
from valve_loadgen.heartbeat import start_heartbeat
start_heartbeat(Path(sys.argv[1]), 2)
print("beating", flush=True)
time.sleep(60)
"""


def stop_at(stopped_ns: int, resumed_ns: int) -> Stop:
    return Stop((0, 1), stopped_ns - 1, stopped_ns, resumed_ns, resumed_ns)


def test_a_gap_must_cover_the_whole_stop() -> None:
    beats = Beats(1, 1000, [(100, 200), (300, 400)], 0)
    assert beats.silent(100, 200)
    assert beats.silent(320, 400)
    assert not beats.silent(99, 150)
    assert not beats.silent(150, 201)
    assert not beats.silent(190, 310)  # progress between the two
    assert not beats.silent(50, 60)
    assert not Beats(1, 1000, [], 0).silent(1, 2)


def test_progress_of_any_thread_is_a_violation() -> None:
    stopped, restless = Beats(1, 999, [(90, 210), (290, 410)], 0), Beats(2, 999, [(90, 210)], 0)
    witness = Witness()
    witness.check([stop_at(100, 200), stop_at(300, 400)], [stopped, restless])
    assert witness == Witness(cycles=2, violations=1, vacuous=0)


def test_a_thread_that_slept_through_two_stops_is_told() -> None:
    witness = Witness()
    witness.check([stop_at(100, 200), stop_at(300, 400)], [Beats(1, 999, [(50, 500)], 0)])
    assert witness == Witness(cycles=2, violations=0, vacuous=1)


def wait_stopped(pid: int) -> None:
    tasks = Path(f"/proc/{pid}/task")
    while any((task / "stat").read_text().rsplit(")", 1)[1].split()[0] != "T" for task in tasks.iterdir()):
        time.sleep(0.001)


@pytest.mark.skipif(not LIBRARY.is_file(), reason="needs `make native`")
def test_a_stopped_process_makes_no_progress_and_a_running_one_does(tmp_path: Path) -> None:
    file = tmp_path / "beats"
    process = subprocess.Popen([sys.executable, "-c", BEATING, str(file)], stdout=subprocess.PIPE)
    assert process.stdout
    with process, process.stdout:
        try:
            process.stdout.readline()
            stops = [cycle(process.pid, file) for _ in range(3)]
            running = stop_at(time.monotonic_ns(), time.monotonic_ns() + 300_000_000)
            beats = wait_beyond(file, running.stopped_ns + 400_000_000)
        finally:
            process.kill()
    assert len({thread.tid for thread in beats}) == len(beats) == 2
    witness = Witness()
    witness.check(stops, beats)
    assert (witness.cycles, witness.violations) == (3, 0)
    witness.check([running], beats)
    assert witness.violations == 1


def cycle(pid: int, file: Path) -> Stop:
    os.kill(pid, signal.SIGSTOP)
    wait_stopped(pid)
    stopped_ns = time.monotonic_ns()
    time.sleep(0.02)
    resumed_ns = time.monotonic_ns()
    os.kill(pid, signal.SIGCONT)
    wait_beyond(file, resumed_ns)
    return stop_at(stopped_ns, resumed_ns)


def wait_beyond(file: Path, at_ns: int) -> list[Beats]:
    while True:
        beats = read_heartbeat(file)
        if all(thread.beat_ns > at_ns for thread in beats):
            return beats
        time.sleep(0.005)


def test_a_foreign_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"x" * 4096)
    with pytest.raises(BenchError, match="not a heartbeat file"):
        read_heartbeat(tmp_path / "x")
