"""The pid namespace that this process is in, and whether /proc shows it."""

from __future__ import annotations

import os
from pathlib import Path


def own_pid_namespace() -> int:
    """Its inode: the same number for everybody in it."""
    return Path("/proc/self/ns/pid").stat().st_ino


def proc_is_ours() -> bool:
    """False after `unshare --pid` without `--mount-proc`: every pid there means another process here."""
    try:
        return os.readlink("/proc/self") == str(os.getpid())  # noqa: PTH115 (text, not a path)
    except OSError:
        return False
