"""`valve doctor`: tries what Valve needs on this machine, and names the mend for what is missing.

Nothing is read off version numbers: every mechanism is tried on a child process of our own.
"""

from __future__ import annotations

import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import orjson

from . import native
from .cgroup import Cgroup, CgroupUnavailableError
from .check import Check, Verdict
from .devices import Gpu, gpus
from .doctor_gpu import examine_gpus
from .errors import ValveRuntimeError
from .node import Node, Side

TRIALS = 50  # stops and resumes of the self-test
STOP_DEADLINE_S = 2.0
TMPFS_NAMES = ("tmpfs", "ramfs")


def examine(runtime_dir: Path) -> list[Check]:
    """Tries everything, in the order in which a person would mend it: a second, with a GPU three."""
    checks = [check_library(), check_runtime_dir(runtime_dir), check_segment(runtime_dir)]
    checks.append(check_users(runtime_dir))
    cgroup, signals = check_cgroup_freezer(), check_signal_freezer()
    found = gpus()
    checks += [cgroup, signals, check_priority(), check_devices(found)]
    gates = examine_gpus(found) if found else []
    return [*checks, *gates, check_mechanism(cgroup, signals, gates)]


def healthy(checks: list[Check]) -> bool:
    return all(check.verdict is not Verdict.ERROR for check in checks)


def render_checks(checks: list[Check], *, as_json: bool) -> str:
    """Lines for a person, or {"healthy", "checks": [...]}."""
    if as_json:
        content = {"healthy": healthy(checks), "checks": [asdict(check) for check in checks]}
        return orjson.dumps(content, option=orjson.OPT_INDENT_2).decode()
    lines = []
    for check in checks:
        lines.append(f"{check.verdict:<5}  {check.name:<16} {check.found}")
        if check.mend:
            lines.append(f"{'':<24}mend: {check.mend}")
    return "\n".join(lines)


# ---- the checks ----


def check_library() -> Check:
    try:
        native.library()
    except ValveRuntimeError as error:
        return Check(
            "native library", Verdict.ERROR, str(error), "run `make native`, or install the wheel again"
        )
    return Check("native library", Verdict.OK, "loaded, layout agrees")


def check_runtime_dir(runtime_dir: Path) -> Check:
    name = "runtime dir"
    if not os.access(runtime_dir, os.W_OK | os.X_OK):
        return Check(
            name, Verdict.ERROR, f"{runtime_dir} is not writable", "give --runtime-dir or VALVE_RUNTIME_DIR"
        )
    kind = file_system(runtime_dir)
    if kind not in TMPFS_NAMES:
        mend = "use a tmpfs such as /run or /dev/shm: write-back to a disk costs latency"
        return Check(name, Verdict.NOTE, f"{runtime_dir} on {kind}", mend)
    return Check(name, Verdict.OK, f"{runtime_dir} on {kind}")


def check_segment(runtime_dir: Path) -> Check:
    try:
        with Node.open(runtime_dir, Side.TENANT) as node:
            found = f"{len(node.holders())} sidecars, {len(node.tenants())} tenants"
    except ValveRuntimeError as error:
        return Check(
            "node segment", Verdict.ERROR, str(error), "if nothing of Valve runs here, remove the named file"
        )
    return Check("node segment", Verdict.OK, found)


def check_users(runtime_dir: Path) -> Check:
    """Signals, and a look at what a process has open, reach those of one's own user only."""
    try:
        with Node.open(runtime_dir, Side.OBSERVER) as node:
            pids = [holder.pid for holder in node.holders() if holder.alive]
            pids += [tenant.pid for tenant in node.tenants() if tenant.alive]
    except ValveRuntimeError:
        pids = []  # said by check_segment()
    others = [pid for pid in pids if _user(pid) not in (None, os.geteuid())]
    if not others:
        return Check("users", Verdict.OK, "everything of Valve here runs as this user")
    found = f"{', '.join(map(str, sorted(others)))} run as other users than {os.geteuid()}"
    mend = "run sidecars and jobs as one user: no job can stop, or look into, a process of another's"
    return Check("users", Verdict.NOTE, found, mend)


def _user(pid: int) -> int | None:
    """None for one that is gone."""
    try:
        return Path(f"/proc/{pid}").stat().st_uid
    except OSError:
        return None


def check_cgroup_freezer() -> Check:
    name = "cgroup freezer"
    try:
        with Cgroup.create("doctor") as cgroup, sleeper() as pid:
            cgroup.add(pid)
            latencies_us = [_time_freeze(cgroup.path) for _ in range(TRIALS)]
    except (CgroupUnavailableError, OSError, TimeoutError) as error:
        mend = "mount cgroup v2 writable for this user, or delegate a cgroup; signals are used instead"
        return Check(name, Verdict.NOTE, f"not usable: {error}", mend)
    return Check(name, Verdict.OK, f"works, p50 {statistics.median(latencies_us):.0f} us to frozen")


def check_signal_freezer() -> Check:
    try:
        with sleeper() as pid:
            latencies_us = [_time_signal(pid) for _ in range(TRIALS)]
    except (OSError, TimeoutError) as error:
        mend = "run the tenant as the same user, with pidfd_send_signal allowed by seccomp"
        return Check("signal freezer", Verdict.ERROR, f"not usable: {error}", mend)
    return Check(
        "signal freezer", Verdict.OK, f"works, p50 {statistics.median(latencies_us):.0f} us to stopped"
    )


def check_priority() -> Check:
    """In a child, so that this process keeps its own priority."""
    code = "import os; os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))"
    tried = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    if tried.returncode == 0:
        return Check("priority", Verdict.OK, "real-time priority for the tenants' agents")
    mend = (
        "raise RLIMIT_RTPRIO to 1 (or grant CAP_SYS_NICE): busy cores otherwise delay stops by milliseconds"
    )
    return Check("priority", Verdict.NOTE, "no real-time priority", mend)


def check_devices(found: Sequence[Gpu]) -> Check:
    if not found:
        return Check("devices", Verdict.OK, "cpu (no NVIDIA driver)")
    return Check("devices", Verdict.OK, ", ".join(f"{gpu.index}: {gpu.name} ({gpu.uuid})" for gpu in found))


def check_mechanism(cgroup: Check, signals: Check, gates: Sequence[Check] = ()) -> Check:
    """What will stop a tenant: on the GPU, and its processes."""
    prefix = "".join(f"GPU: {word}; " for word in map(_by_selftest, gates) if word)
    if cgroup.verdict is Verdict.OK:
        return Check("mechanism", Verdict.OK, f"{prefix}freezer by cgroup v2")
    if signals.verdict is Verdict.OK:
        return Check(
            "mechanism", Verdict.NOTE, f"{prefix}freezer by signals: slower for processes with many threads"
        )
    return Check("mechanism", Verdict.ERROR, "nothing can stop a tenant here", cgroup.mend)


def _by_selftest(gate: Check) -> str:
    """The mechanism that the self-test of a GPU found, if it found one."""
    word = gate.found.partition(" ")[0]
    return word if gate.name == "GPU gate" and word in ("channels", "launch") else ""


# ---- how ----


def file_system(path: Path) -> str:
    """The kind of file system that `path` lies on, from /proc/self/mountinfo."""
    best, kind = Path("/"), "unknown"
    for line in Path("/proc/self/mountinfo").read_text(errors="surrogateescape").splitlines():
        fields, _, rest = line.partition(" - ")
        mount = Path(fields.split()[4])
        if path.resolve().is_relative_to(mount) and len(mount.parts) >= len(best.parts):
            best, kind = mount, rest.split()[0]
    return kind


@contextmanager
def sleeper() -> Iterator[int]:
    """A child that sleeps; gone afterwards, stopped or not."""
    child = subprocess.Popen(["sleep", "60"])
    try:
        yield child.pid
    finally:
        child.kill()
        child.wait()


def _time_freeze(path: Path) -> float:
    started_ns = time.perf_counter_ns()
    (path / "cgroup.freeze").write_text("1")
    _wait(lambda: "frozen 1" in (path / "cgroup.events").read_text(), "the cgroup did not freeze")
    took_us = (time.perf_counter_ns() - started_ns) / 1000
    (path / "cgroup.freeze").write_text("0")
    _wait(lambda: "frozen 0" in (path / "cgroup.events").read_text(), "the cgroup did not thaw")
    return took_us


def _time_signal(pid: int) -> float:
    pidfd = os.pidfd_open(pid)
    try:
        started_ns = time.perf_counter_ns()
        signal.pidfd_send_signal(pidfd, signal.SIGSTOP)
        _wait(lambda: _state(pid) == "T", "the child did not stop")
        took_us = (time.perf_counter_ns() - started_ns) / 1000
        signal.pidfd_send_signal(pidfd, signal.SIGCONT)
        _wait(lambda: _state(pid) != "T", "the child did not continue")
        return took_us
    finally:
        os.close(pidfd)


def _state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def _wait(condition: Callable[[], bool], otherwise: str) -> None:
    end = time.monotonic() + STOP_DEADLINE_S
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(otherwise)
