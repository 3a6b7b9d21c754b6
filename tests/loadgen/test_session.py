"""Several commands in one session, ended together."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from valve_loadgen.session import commands

SAY = "import os, time; print(os.getsid(0), flush=True); time.sleep(60)"


def test_commands_are_split_at_the_separators() -> None:
    assert commands(["--", "a", "1", "--", "b"]) == [["a", "1"], ["b"]]


def start(logs: Path, *scripts: str) -> subprocess.Popen[bytes]:
    words = [word for script in scripts for word in ("--", sys.executable, "-c", script)]
    return subprocess.Popen(
        [sys.executable, "-m", "valve_loadgen.session", str(logs), *words],
        start_new_session=True,
        stdout=subprocess.PIPE,
    )


def read(log: Path) -> str:
    while not log.exists() or not log.read_text().endswith("\n"):
        pass
    return log.read_text().strip()


def test_all_run_in_one_session_and_end_with_it(tmp_path: Path) -> None:
    process = start(tmp_path / "log", SAY, SAY)
    sessions = {read(tmp_path / "log.0"), read(tmp_path / "log.1")}
    assert sessions == {str(os.getsid(process.pid))}
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=20)
    assert process.returncode == 1


def test_when_one_ends_all_do_and_it_is_named(tmp_path: Path) -> None:
    process = start(tmp_path / "log", SAY, "raise SystemExit(7)")
    told, _ = process.communicate(timeout=20)
    assert process.returncode == 1
    assert f"command 1 ended with exit code 7; see {tmp_path / 'log'}.1" in told.decode()
