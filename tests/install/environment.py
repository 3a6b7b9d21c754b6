"""A virtual environment of a user's, into which the built wheel is installed."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

DIST = Path(__file__).resolve().parents[2] / "dist"
PATIENCE_S = 900.0  # only ever waited out by a failing test
UNTRACKED = {"__pycache__"}


def wheel() -> Path:
    """What `make wheel` has built."""
    (found,) = DIST.glob("valve_sidecar-*-py3-none-manylinux_*.whl")
    return found


class Environment:
    """`bin` has its programs, `clean` is an environment in which this checkout is not on Python's path."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.bin = folder, folder / "bin"
        self.clean = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}

    @classmethod
    def create(cls, folder: Path) -> Environment:
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        return cls(folder)

    def run(self, program: str, *arguments: str | Path) -> str:
        """Its standard output. Raises CalledProcessError."""
        command = [self.bin / program, *arguments]
        done = subprocess.run(
            command, env=self.clean, text=True, stdout=subprocess.PIPE, timeout=PATIENCE_S, check=True
        )
        return done.stdout

    def install(self, *what: str | Path) -> None:
        self.run("python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *what)

    def files(self) -> dict[str, str]:
        """Path -> digest of everything in it, but for what running it makes."""
        found = {}
        for path in self.folder.rglob("*"):
            if path.is_file() and not UNTRACKED & set(path.parts):
                found[str(path.relative_to(self.folder))] = digest(path)
        return found

    @contextlib.contextmanager
    def serving(self, upstream: str, runtime_dir: Path) -> Iterator[str]:
        """`valve serve` before `upstream`; yields its address."""
        command = [self.bin / "valve", "serve", "--upstream", upstream, "--device", "cpu"]
        command += ["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--runtime-dir", runtime_dir]
        process = subprocess.Popen(command, env=self.clean, text=True, stderr=subprocess.PIPE)
        assert process.stderr is not None
        try:
            line = next(line for line in process.stderr if "serving on" in line)
            yield re.findall(r"serving on (\S+)", line)[0]
        finally:
            process.terminate()
            process.communicate(timeout=PATIENCE_S)
            assert process.returncode == 0


def digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
