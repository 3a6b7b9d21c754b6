"""Everything as an ordinary user: what works, and what `valve doctor` says of the rest."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest

from .stage import DEADLINE_S

NOBODY = 65534
SETPRIV = ["setpriv", "--reuid", str(NOBODY), "--regid", str(NOBODY), "--clear-groups", "--no-new-privs"]
# A Python that lies below root's own directory is shown to everybody, in a mount namespace of the test's.
SHOW = """
mount --bind "$2" "$3" && mount -t tmpfs -o mode=755 none "$1" && mkdir -p "$2" && mount --bind "$3" "$2"
shift 3
exec "$@"
"""
pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(
        os.geteuid() != 0 or shutil.which("setpriv") is None, reason="needs to change its user by setpriv"
    ),
]


@pytest.fixture
def home() -> Iterator[Path]:
    """A directory of that user's."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as made:
        os.chown(made, NOBODY, NOBODY)
        yield Path(made)


def hidden() -> Path | None:
    """The directory above this Python that others may not enter."""
    above = reversed(Path(sys.base_prefix).resolve().parents)
    return next((each for each in above if not each.stat().st_mode & 0o001), None)


def shown(home: Path, command: list[str]) -> list[str]:
    place = home / "python"
    place.mkdir(exist_ok=True)
    shut, python = hidden(), str(Path(sys.base_prefix).resolve())
    return (
        ["unshare", "-m", "sh", "-c", SHOW, "sh", str(shut), python, str(place), *command]
        if shut
        else command
    )


def as_nobody(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {
        "HOME": str(home),
        "TMPDIR": str(home),
        "VALVE_RUNTIME_DIR": str(home / "run"),
    }
    return subprocess.run(
        shown(home, [*SETPRIV, sys.executable, *arguments]),
        env=environment,
        capture_output=True,
        text=True,
        timeout=10 * DEADLINE_S,
        check=False,
    )


@pytest.fixture(autouse=True)
def _can_start(home: Path) -> None:
    if as_nobody(home, "-c", "import httpx").returncode:
        pytest.skip("another user cannot run this Python")


def test_gate_and_signals_need_no_privilege(home: Path) -> None:
    """The whole of a request's life, by tests that others run as root."""
    names = "stops_the_tenant_for_as_long and native"
    test = str(Path(__file__).with_name("test_gate.py"))
    options = ("-p", "no:cacheprovider", "--basetemp", str(home / "tests"), "-k", names)
    done = as_nobody(home, "-m", "pytest", test, *options)
    assert done.returncode == 0, done.stdout
    assert "1 passed" in done.stdout


def test_doctor_lists_what_needs_more_and_the_mend(home: Path) -> None:
    done = as_nobody(home, "-m", "valve_sidecar", "doctor", "--json")
    assert done.returncode == 0, done.stderr
    checks = {check["name"]: check for check in orjson.loads(done.stdout)["checks"]}
    assert checks["signal freezer"]["verdict"] == "ok"
    assert "freezer" in checks["mechanism"]["found"]
    for name in ("cgroup freezer", "priority"):
        check = checks[name]
        assert check["verdict"] in ("ok", "note"), "nothing that is needed is missing"
        assert check["mend"] or check["verdict"] == "ok"


def test_a_job_runs_and_says_how_it_is_stopped(home: Path) -> None:
    show = "import os; print(os.getuid())"
    done = as_nobody(home, "-m", "valve_sidecar", "run", "--device", "cpu", "--", sys.executable, "-c", show)
    assert (done.returncode, done.stdout) == (0, f"{NOBODY}\n")
    assert "Traceback" not in done.stderr


def test_what_belongs_to_root_is_refused_by_name(home: Path) -> None:
    with tempfile.TemporaryDirectory(dir="/dev/shm") as roots:
        done = as_nobody(home, "-m", "valve_sidecar", "run", "--runtime-dir", roots, "--", "true")
    assert done.returncode != 0
    assert roots in done.stderr
    assert "name another" in done.stderr
    assert "Traceback" not in done.stderr
