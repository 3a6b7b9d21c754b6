"""Owns the benchmark's child processes: starts them with logs, ends them all on every way out.

Every child leads a session of its own (so that the kernel's autogroups treat both engines alike) and carries
a marker in its environment, by which the clean-up also finds what a dying child has left behind.
"""

import asyncio
import contextlib
import ctypes
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from valve_loadgen.errors import BenchError

MARKER = "VALVE_BENCH_RUN"
PR_SET_PDEATHSIG = 1
GRACE_S = 8.0
_libc = ctypes.CDLL(None, use_errno=True)


def _die_with_parent() -> None:
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


@dataclass
class Child:
    name: str
    process: subprocess.Popen[bytes]
    log: Path

    def check(self) -> None:
        """Raises BenchError with the end of its log if the process has ended."""
        code = self.process.poll()
        if code is not None:
            raise BenchError(
                f"{self.name} ended with exit code {code}; the end of {self.log}:\n{self.log_end()}"
            )

    def log_end(self, lines: int = 12) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])


class Processes:
    """A context that ends its children, and theirs, when it is left. `logs` gets their output.

    `scratch` is a fresh directory on tmpfs that goes away with it; VALVE_RUNTIME_DIR lies in it, so that two
    runs at once do not meet. Without `logs` the output goes there too.
    """

    def __init__(self, logs: Path | None = None) -> None:
        memory = Path("/dev/shm")
        self.scratch = Path(tempfile.mkdtemp(prefix="valve-bench-", dir=memory if memory.is_dir() else None))
        self.runtime = self.scratch / "runtime"
        self.runtime.mkdir(mode=0o700)
        self.logs = logs or self.scratch / "logs"
        self.logs.mkdir(parents=True, exist_ok=True)
        self._children: list[Child] = []
        self._environment = {**os.environ, MARKER: str(self.scratch), "VALVE_RUNTIME_DIR": str(self.runtime)}

    def __enter__(self) -> "Processes":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def start(self, name: str, command: Sequence[str], cpus: frozenset[int] | None = None) -> Child:
        """Starts `command` on `cpus` (inherited if None), its output in NAME.log."""
        log = self.logs / f"{name}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=self._environment,
                start_new_session=True,
                preexec_fn=_die_with_parent,
            )
        if cpus:
            with contextlib.suppress(ProcessLookupError):
                os.sched_setaffinity(process.pid, cpus)
        child = Child(name, process, log)
        self._children.append(child)
        return child

    def stop(self, child: Child) -> None:
        """SIGTERM; SIGKILL to its group after GRACE_S."""
        if child.process.poll() is None:
            child.process.terminate()
        try:
            child.process.wait(GRACE_S)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.process.pid, signal.SIGKILL)
            child.process.wait()

    def close(self) -> None:
        """Ends everything, the last started first, and removes the runtime directory."""
        for child in reversed(self._children):
            with contextlib.suppress(OSError):
                self.stop(child)
        self._children.clear()
        self._sweep()
        shutil.rmtree(self.scratch, ignore_errors=True)

    def _sweep(self) -> None:
        marker = f"{MARKER}={self.scratch}".encode()
        for _ in range(20):
            left = marked(marker)
            for pid in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            if not left:
                return
            time.sleep(0.05)


def marked(marker: bytes) -> list[int]:
    """The processes other than this one whose initial environment holds the line `marker`."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            with contextlib.suppress(OSError):
                if marker in (entry / "environ").read_bytes().split(b"\0"):
                    found.append(int(entry.name))
    return found


async def ready(child: Child, probe: Callable[[], Awaitable[bool]], timeout_s: float = 60.0) -> None:
    """Waits until `probe` says so. Raises BenchError when the process ends or the time is up."""
    deadline_s = time.monotonic() + timeout_s
    while True:
        child.check()
        with contextlib.suppress(BenchError):
            if await probe():
                return
        if time.monotonic() > deadline_s:
            raise BenchError(
                f"{child.name} is not ready after {timeout_s:g} s; the end of {child.log}:\n{child.log_end()}"
            )
        await asyncio.sleep(0.05)
