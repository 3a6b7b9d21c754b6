"""Owns cgroups that limit processor time: made with their settings, entered by a command, removed."""

import contextlib
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from valve_loadgen.errors import BenchError

ROOTS = (Path("/sys/fs/cgroup"), Path("/sys/fs/cgroup/cpu"), Path("/sys/fs/cgroup/cpu,cpuacct"))
REMOVE_TIMEOUT_S = 10.0
PERIOD_US = 5_000  # short: a thread that has used up its share stands still for the rest of a period


def cpu_cgroup() -> Path | None:
    """A directory in which a cgroup with cpu weights may be made: version 2, else 1."""
    for root in ROOTS:
        weighs = (root / "cpu.shares").is_file() or "cpu" in _subtree(root)
        if weighs and os.access(root, os.W_OK):
            return root
    return None


def _subtree(root: Path) -> list[str]:
    file = root / "cgroup.subtree_control"
    return file.read_text().split() if file.is_file() else []


def quota(cores: float) -> dict[str, str]:
    """The settings that give a group `cores` of processor time, in both versions."""
    share_us = round(cores * PERIOD_US)
    return {
        "cpu.max": f"{share_us} {PERIOD_US}",
        "cpu.cfs_period_us": str(PERIOD_US),
        "cpu.cfs_quota_us": str(share_us),
    }


@contextlib.contextmanager
def limited(name: str, settings: Mapping[str, str]) -> Iterator[tuple[str, ...]]:
    """A new cgroup; yields what precedes a command to run it inside. Raises BenchError where none can be.

    Of `settings` (file: content) those are made that this version has. Its processes must end before the
    context does.
    """
    root = cpu_cgroup()
    if root is None:
        raise BenchError("no writable cgroup with the cpu controller (try as root)")
    group = root / f"valve-bench-{name}-{os.getpid()}"
    group.mkdir()
    try:
        for file, content in settings.items():
            if (group / file).exists():
                (group / file).write_text(content)
        yield ("sh", "-c", f'echo $$ > {group}/cgroup.procs && exec "$@"', "sh")
    finally:
        _remove(group)


def _remove(group: Path) -> None:
    """Once the last of its processes, killed just before, is gone. Raises OSError."""
    deadline_s = time.monotonic() + REMOVE_TIMEOUT_S
    while True:
        try:
            group.rmdir()
            return
        except OSError:
            if time.monotonic() > deadline_s:
                raise
            time.sleep(0.05)
