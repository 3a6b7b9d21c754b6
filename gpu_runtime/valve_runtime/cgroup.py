"""A cgroup v2 of our own for a tenant's tree, in a pure or a hybrid mount, where this user may make one."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from . import tree
from .namespace import own_pid_namespace

REMOVE_DEADLINE_S = 2.0
PREFIX = "valve-"
GUARDIAN = b"valve_runtime.guardian"


class CgroupUnavailableError(Exception):
    """No cgroup can be made here; the message says why."""


@dataclass(frozen=True, slots=True)
class Cgroup:
    """A directory below our own cgroup. As a context it is removed at the end, once it is empty."""

    path: Path

    @classmethod
    def create(cls, name: str, owner_pid: int | None = None) -> Self:
        """Named after its owner (None: us) and the pid namespace in which that number counts. Raises
        CgroupUnavailableError.
        """
        path = own_cgroup() / f"{PREFIX}{name}-{own_pid_namespace()}-{owner_pid or os.getpid()}"
        try:
            path.mkdir(exist_ok=True)
        except OSError as error:
            raise CgroupUnavailableError(f"cannot make {path}: {error.strerror}") from error
        if not (path / "cgroup.freeze").exists():
            with contextlib.suppress(OSError):
                path.rmdir()
            raise CgroupUnavailableError(f"{path.parent} has no freezer (Linux before 5.2)")
        thaw(path)  # a dead owner of the same name may have left it frozen
        return cls(path)

    def add(self, pid: int) -> None:
        """Moves a process into it. Raises OSError."""
        (self.path / "cgroup.procs").write_text(str(pid))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        remove(self.path)


def own_cgroup() -> Path:
    """This process's cgroup v2 directory. Raises CgroupUnavailableError."""
    return locate(_proc_text("mountinfo"), _proc_text("cgroup"))


def _proc_text(name: str) -> str:
    return Path("/proc/self", name).read_text(errors="surrogateescape")


def locate(mountinfo: str, membership: str) -> Path:
    """The directory of the cgroup in `membership` (/proc/PID/cgroup), below /sys/fs/cgroup or, in the hybrid
    layout, .../unified. A container may see only a part of the hierarchy. Raises CgroupUnavailableError.
    """
    own = next((line[3:] for line in membership.splitlines() if line.startswith("0::")), None)
    if own is None:
        raise CgroupUnavailableError("this kernel has no cgroup v2")
    root, point = _mount(mountinfo)
    return point / _below(Path(own), root)


def is_tenants(path: str) -> bool:
    """Whether it names a tenant's cgroup on this machine and nothing else: who obeys a record kills there."""
    try:
        _, point = _mount(_proc_text("mountinfo"))
    except CgroupUnavailableError:
        return False
    parts = Path(path).parts
    plain = Path(path).is_absolute() and ".." not in parts and "\0" not in path
    return plain and parts[-1].startswith(PREFIX) and Path(path).is_relative_to(point)


def _mount(mountinfo: str) -> tuple[Path, Path]:
    """(the part of the hierarchy that is mounted, where). Raises CgroupUnavailableError."""
    for line in mountinfo.splitlines():
        fields, _, rest = line.partition(" - ")
        if rest.startswith("cgroup2 "):
            root, point = (_unescape(each) for each in fields.split()[3:5])
            return root, point
    raise CgroupUnavailableError("cgroup v2 is not mounted")


def _below(own: Path, root: Path) -> Path:
    if ".." in own.parts or not own.is_relative_to(root):
        raise CgroupUnavailableError(f"our cgroup {own} lies outside of the mounted part {root}")
    return own.relative_to(root)


def _unescape(field: str) -> Path:
    """mountinfo writes blanks as \\040."""
    return Path(re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), field))


def thaw(path: Path) -> None:
    """Undoes a freeze; nothing happens if the cgroup is gone."""
    with contextlib.suppress(OSError):
        (path / "cgroup.freeze").write_text("0")


def kill(path: Path) -> None:
    """Ends every process in it, frozen or not (cgroup.kill, Linux 5.14; else one by one)."""
    if (path / "cgroup.kill").exists():
        with contextlib.suppress(OSError):
            (path / "cgroup.kill").write_text("1")
        return
    for pid in members(path):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)


def members(path: Path) -> list[int]:
    """The processes in it and in what the tenant made below it; none if it is gone."""
    found: list[int] = []
    for folder, _, _ in os.walk(path):
        with contextlib.suppress(OSError):
            found += [int(pid) for pid in Path(folder, "cgroup.procs").read_text().split()]
    return found


def remove(path: Path) -> None:
    """With what the tenant made below it. Processes that have just ended still count for a moment; if any
    stays, so does the cgroup.
    """
    end_s = time.monotonic() + REMOVE_DEADLINE_S
    while not _try_remove(path) and time.monotonic() < end_s:
        time.sleep(0.01)


def _try_remove(path: Path) -> bool:
    for folder, _, _ in os.walk(path, topdown=False):
        with contextlib.suppress(OSError):
            Path(folder).rmdir()
    return not path.exists()


def remove_orphans() -> None:
    """Ends, and removes once empty, what dead owners of our pid namespace left beside us without a record.
    What is killed first computes nothing any more once it is thawed.
    """
    with contextlib.suppress(OSError, CgroupUnavailableError):
        for path in own_cgroup().glob(f"{PREFIX}*-{own_pid_namespace()}-*"):
            owner = path.name.rpartition("-")[2]
            if owner.isdigit() and not Path("/proc", owner).exists() and not _has_guardian(path):
                kill(path)
                thaw(path)
                remove(path)


def _has_guardian(path: Path) -> bool:
    """It is about to end them, and gives them time."""
    for pid in tree.ancestors(members(path)):
        with contextlib.suppress(OSError):
            if GUARDIAN in Path(f"/proc/{pid}/cmdline").read_bytes():
                return True
    return False
