"""A machine of its own under systemd: a Debian root, booted by systemd-nspawn, with the wheel at hand."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.documented import ROOT, blocks

from .environment import wheel

INSIDE = Path(__file__).parent / "inside"
CACHE = ROOT / ".cache" / "deploy"
PACKAGES = "systemd,dbus,python3,python3-venv"
PATIENCE_S = 900.0  # only ever waited out by a failing test


def why_not() -> str:
    """Empty: such a machine can be made here."""
    for program in ("systemd-nspawn", "mmdebstrap"):
        if shutil.which(program) is None:
            return f"{program} is not installed (apt-get install systemd-container mmdebstrap)"
    return "" if os.geteuid() == 0 else "booting a machine takes root"


def wait_until(condition: Callable[[], Any], what: str) -> Any:
    """Polls until `condition` gives something true and returns it."""
    end_s = time.monotonic() + PATIENCE_S
    while time.monotonic() < end_s:
        if result := condition():
            return result
        time.sleep(0.1)
    raise AssertionError(f"not within {PATIENCE_S} s: {what}")


def make_root(folder: Path) -> None:
    """Debian, the wheel and what it needs in /wheels, and what the test runs inside."""
    archive = CACHE / "machine.tar"
    if not archive.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        command = ["mmdebstrap", "--variant=minbase", f"--include={PACKAGES}", "bookworm", archive]
        subprocess.run(command, check=True)
    folder.mkdir()
    subprocess.run(["tar", "-xf", archive, "-C", folder, "--exclude=./dev/*"], check=True)
    (folder / "etc" / "machine-id").write_text("")
    shutil.copytree(INSIDE, folder / "opt" / "inside")
    shutil.copy(INSIDE / "engine.service", folder / "etc" / "systemd" / "system")
    shutil.copy(INSIDE / "batch.py", folder / "srv")
    wheels = folder / "wheels"
    subprocess.run(["python3", "-m", "pip", "download", "--quiet", "--dest", wheels, wheel()], check=True)


class Machine:
    """`wait_up`, then `run` runs a command inside; `end` in any case."""

    def __init__(self, folder: Path) -> None:
        self._name = f"valve-test-{os.getpid()}"
        command = ["systemd-nspawn", "--quiet", "--boot", f"--directory={folder}", f"--machine={self._name}"]
        options = ["--register=no", "--keep-unit", "--private-network", "--console=pipe"]
        self._nspawn = subprocess.Popen(
            [*command, *options], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
        )
        self._leader = 0

    def wait_up(self) -> None:
        """Raises AssertionError."""
        wait_until(self._is_up, "systemd is up")
        # nspawn mounts a boot id of the machine's own; a unit with a /proc of its own does not see that.
        self.run("umount", "/proc/sys/kernel/random/boot_id")

    def run(self, *command: str, check: bool = True) -> str:
        """Its standard output, stripped."""
        enter = ["nsenter", f"--target={self._leader}", "--all", "--root", "--wd"]
        done = subprocess.run(
            [*enter, *command], text=True, capture_output=True, timeout=PATIENCE_S, check=False
        )
        assert done.returncode == 0 or not check, f"{command}: {done.stdout}{done.stderr}{self.journal()}"
        return done.stdout.strip()

    def obey(self, page: str, number: int, **changes: str) -> str:
        """Runs a block of a page; the wheel lies there, and there is no network."""
        code = blocks(page, "root")[number]
        for old, new in changes.items():
            assert old in code
            code = code.replace(old, new)
        wheels = ["env", "--chdir=/wheels", "PIP_NO_INDEX=1", "PIP_FIND_LINKS=/wheels", "SYSTEMD_PAGER=cat"]
        return self.run(*wheels, "sh", "-e", "-c", code)

    def show(self, unit: str, key: str) -> str:
        return self.run("systemctl", "show", unit, f"--property={key}", "--value")

    def journal(self) -> str:
        enter = ["nsenter", f"--target={self._leader}", "--all", "--root", "--wd"]
        command = [*enter, "journalctl", "--no-pager", "--lines=60"]
        return subprocess.run(command, text=True, capture_output=True, check=False).stdout

    def end(self) -> None:
        self._nspawn.terminate()
        try:
            self._nspawn.wait(30)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._leader, signal.SIGKILL)
            self._nspawn.wait()

    def _is_up(self) -> bool:
        """Its first process is nspawn's child, but another helps nspawn before that."""
        assert self._nspawn.poll() is None, "systemd-nspawn has ended"
        pid = self._nspawn.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        if not children:
            return False
        self._leader = int(children[-1])
        state = self.run("systemctl", "is-system-running", check=False)
        return state in ("running", "degraded")
