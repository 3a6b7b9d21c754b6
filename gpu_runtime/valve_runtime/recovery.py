"""Cleans up after tenants whose `valve run` and guardian were both killed; every valve command calls it
first.
"""

from __future__ import annotations

import contextlib
import signal
from pathlib import Path

from . import cgroup as cgroups
from . import kv_pool, tree
from .namespace import own_pid_namespace, proc_is_ours
from .record import Record, check_folder, folder, is_own_file


def recover(runtime_dir: Path) -> list[str]:
    """Thaws and ends what dead runs of this user left behind. Returns a line per job for the user; never
    raises.
    """
    if not proc_is_ours():
        return []
    messages = [_recover_file(path) for path in _records(runtime_dir)]
    cgroups.remove_orphans()
    kv_pool.remove_stale_tables(runtime_dir)
    return [message for message in messages if message]


class LostTree:
    """A tree without its parents: what is in its cgroup, what carries its marker, what its record lists, and
    everything below these.
    """

    def __init__(self, record: Record) -> None:
        self._record = record

    def signal(self, number: signal.Signals) -> None:
        if number is signal.SIGKILL and self._record.cgroup_path is not None:
            cgroups.kill(self._record.cgroup_path)
        tree.signal_processes(self._processes(), number)

    def thaw(self) -> None:
        if self._record.cgroup_path is not None:
            cgroups.thaw(self._record.cgroup_path)

    def is_gone(self) -> bool:
        return not self._processes()

    def _processes(self) -> set[int]:
        roots = tree.marked(self._record.job_id)
        roots |= {each.pid for each in self._record.members if each.is_alive()}
        if self._record.cgroup_path is not None:
            roots |= set(cgroups.members(self._record.cgroup_path))
        found = roots | tree.descendants(sorted(roots))
        return {pid for pid in found - tree.ancestors_and_self() if tree.start_ticks(pid)}


def recover_job(record: Record) -> bool:
    """Ends the job's tree and removes its cgroup. False: something of it could not be ended."""
    ended = tree.end(LostTree(record))
    if record.cgroup_path is not None:
        cgroups.remove(record.cgroup_path)
    return ended


def _records(runtime_dir: Path) -> list[Path]:
    """Only what this user wrote."""
    try:
        check_folder(folder(runtime_dir))
        return [path for path in sorted(folder(runtime_dir).glob("*.json")) if is_own_file(path)]
    except OSError:
        return []


def _recover_file(path: Path) -> str:
    try:
        record = Record.decode(path.read_bytes())
    except (OSError, ValueError) as error:
        return _set_aside(path, error)
    if record.pid_namespace != own_pid_namespace() or record.runner.is_alive() or record.guardian.is_alive():
        return ""
    if not recover_job(record):
        return f"job {record.job_id} has lost its `valve run`, and something of it cannot be ended: see ps"
    with contextlib.suppress(OSError):
        path.unlink(missing_ok=True)
    return f"job {record.job_id} had lost its `valve run` and its guardian: ended what was left of it"


def _set_aside(path: Path, error: Exception) -> str:
    """A record that cannot be read is kept for people, out of the way. One that just vanished is fine."""
    if isinstance(error, FileNotFoundError):
        return ""
    aside = path.with_suffix(".damaged")
    with contextlib.suppress(OSError):
        path.rename(aside)
    return f"the job record {path} cannot be read ({error}); set aside as {aside.name}"
