"""Children and what they leave behind: all ended, whatever they do."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from valve_loadgen.cpus import Placement, place
from valve_loadgen.errors import BenchError
from valve_loadgen.processes import MARKER, Processes, marked, ready

SLEEP = [sys.executable, "-c", "import time; time.sleep(600)"]
DEAF = [
    sys.executable,
    "-c",
    "import signal, subprocess, sys, time\n"
    "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
    "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'], start_new_session=True)\n"
    "print('ready', flush=True)\n"
    "time.sleep(600)",
]


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def test_leaving_ends_children_and_removes_the_directory(tmp_path: Path) -> None:
    with Processes(tmp_path / "logs") as processes:
        child = processes.start("sleeper", SLEEP)
        scratch = processes.scratch
        assert os.getsid(child.process.pid) == child.process.pid  # a session of its own
        assert f"{MARKER}={scratch}".encode() in Path(f"/proc/{child.process.pid}/environ").read_bytes()
    assert not alive(child.process.pid)
    assert not scratch.exists()
    assert (tmp_path / "logs" / "sleeper.log").exists()


async def test_a_deaf_child_and_its_escaped_child_are_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("valve_loadgen.processes.GRACE_S", 0.2)
    with Processes() as processes:
        child = processes.start("deaf", DEAF)

        async def told() -> bool:
            return "ready" in child.log_end()

        await ready(child, told)
        family = marked(f"{MARKER}={processes.scratch}".encode())
        assert len(family) == 2
    assert not any(alive(pid) for pid in family)


def test_a_stopped_child_is_ended_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("valve_loadgen.processes.GRACE_S", 0.2)
    with Processes() as processes:
        child = processes.start("frozen", SLEEP)
        os.kill(child.process.pid, signal.SIGSTOP)
    assert not alive(child.process.pid)


def test_two_at_once_do_not_meet() -> None:
    with Processes() as one, Processes() as other:
        child = one.start("sleeper", SLEEP)
        assert one.runtime != other.runtime
        other.close()
        assert alive(child.process.pid)


async def test_a_child_that_dies_is_told_with_its_log() -> None:
    async def never() -> bool:
        return False

    with Processes() as processes:
        child = processes.start("broken", [sys.executable, "-c", "raise SystemExit('no such model')"])
        with pytest.raises(BenchError, match=r"broken ended with exit code 1(.|\n)*no such model"):
            await ready(child, never)
        sleeper = processes.start("late", SLEEP)
        with pytest.raises(BenchError, match="late is not ready after"):
            await ready(sleeper, never, timeout_s=0.1)


def test_children_run_on_their_cores() -> None:
    core = frozenset({min(os.sched_getaffinity(0))})
    with Processes() as processes:
        child = processes.start("sleeper", SLEEP, core)
        assert os.sched_getaffinity(child.process.pid) == core


PARENT = """
import sys, time
from valve_loadgen.processes import Processes
processes = Processes()
child = processes.start("sleeper", [sys.executable, "-c", "import time; time.sleep(600)"])
print(child.process.pid, processes.scratch, flush=True)
time.sleep(600)
"""


def test_children_die_with_a_killed_parent() -> None:
    with subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout
        pid, scratch = parent.stdout.readline().split()
        parent.kill()
    while alive(int(pid)):
        pass
    for path in sorted(Path(scratch).rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    Path(scratch).rmdir()


@pytest.mark.parametrize(
    ("available", "engine_cores", "engines", "others"),
    [
        ({0}, 1, {0}, {0}),
        ({0, 1}, 1, {0}, {1}),
        ({0, 1}, 4, {0}, {1}),
        ({2, 3, 5, 7}, 1, {2}, {3, 5, 7}),
        (set(range(8)), 4, {0, 1, 2, 3}, {4, 5, 6, 7}),
    ],
)
def test_placing(available: set[int], engine_cores: int, engines: set[int], others: set[int]) -> None:
    placement = place(available, engine_cores)
    assert placement == Placement(frozenset(engines), frozenset(others))
    assert placement.shared == (len(available) == 1)
