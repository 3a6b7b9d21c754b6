"""What has to be known about a running tenant to clean up after it: one small file per job, written whole."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import stat
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from . import cgroup as cgroups
from .tree import Process

NOBODY = Process(0, 0)


@dataclass(frozen=True, slots=True)
class Record:
    """`pid_namespace` tells records of other containers that share the runtime directory; `members` are the
    tree's processes when it was last written.
    """

    job_id: str
    runtime_dir: str
    cgroup: str  # empty: none
    runner: Process
    guardian: Process = NOBODY
    members: tuple[Process, ...] = ()
    pid_namespace: int = 0

    def encode(self) -> str:
        """ASCII; names that are not UTF-8 survive (the reason for json)."""
        return json.dumps(asdict(self))

    @classmethod
    def decode(cls, text: str | bytes) -> Record:
        """Raises ValueError for anything that is not a record, or tells of a cgroup that is no tenant's."""
        content = json.loads(text)
        if not isinstance(content, dict) or content.keys() != set(cls.__slots__):
            raise ValueError("not a job record")
        return cls(
            job_id=_text(content["job_id"]),
            runtime_dir=_text(content["runtime_dir"]),
            cgroup=_cgroup(content["cgroup"]),
            runner=_process(content["runner"]),
            guardian=_process(content["guardian"]),
            members=tuple(_process(each) for each in _list(content["members"])),
            pid_namespace=_number(content["pid_namespace"]),
        )

    @property
    def cgroup_path(self) -> Path | None:
        return Path(self.cgroup) if self.cgroup else None

    @property
    def path(self) -> Path:
        return folder(Path(self.runtime_dir)) / f"{self.job_id}.json"

    def write(self) -> None:
        """Raises OSError (a full disk, say); a reader sees the whole file or none."""
        self.path.parent.mkdir(mode=0o700, exist_ok=True)
        check_folder(self.path.parent)
        draft = self.path.with_suffix(f".{os.getpid()}")
        try:
            draft.write_text(self.encode())
            draft.replace(self.path)
        except OSError:
            draft.unlink(missing_ok=True)
            raise

    def remove(self) -> None:
        """Nothing happens if it could not be written in the first place."""
        with contextlib.suppress(OSError):
            self.path.unlink()


def folder(runtime_dir: Path) -> Path:
    """Where this user's records lie. A record is an order to kill, so nobody takes another's."""
    return runtime_dir / f"jobs-{os.geteuid()}"


def check_folder(path: Path) -> None:
    """Raises OSError if it is missing, a link, somebody else's or open to others."""
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode):
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path))
    if found.st_uid != os.geteuid() or stat.S_IMODE(found.st_mode) & 0o077:
        raise PermissionError(errno.EPERM, "it must belong to this user alone (mode 0700)", str(path))


def is_own_file(path: Path) -> bool:
    """False also for one that is gone."""
    try:
        found = path.lstat()
    except OSError:
        return False
    return stat.S_ISREG(found.st_mode) and found.st_uid == os.geteuid()


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"not a job record: {value!r} is not text")
    return value


def _cgroup(value: Any) -> str:
    text = _text(value)
    if text and not cgroups.is_tenants(text):
        raise ValueError(f"not a job record: {text!r} is no tenant's cgroup here")
    return text


def _number(value: Any) -> int:
    if not isinstance(value, int):
        raise ValueError(f"not a job record: {value!r} is not a number")
    return value


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise ValueError(f"not a job record: {value!r} is not a list")
    return value


def _process(value: Any) -> Process:
    if not isinstance(value, dict) or value.keys() != {"pid", "ticks"}:
        raise ValueError(f"not a job record: {value!r} is not a process")
    return Process(_number(value["pid"]), _number(value["ticks"]))
