"""Counts what there is of a cast while nothing happens, so that what is left over shows."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path

from valve_loadgen.processes import marked
from valve_runtime.cgroup import own_cgroup

from .history import Census
from .players import MARKER
from .stage import Stage


def take(stage: Stage) -> Census:
    """Of the sidecar, the tenant and the runtime directory."""
    players = stage.players
    parties = {
        "sidecar": [players.sidecar.pid, *players.sidecar.worker_pids()],
        "run": [players.tenant.pid],
        "guardian": [players.tenant.guardian()],
    }
    counts = {f"{name} descriptors": sum(map(_descriptors, set(pids))) for name, pids in parties.items()}
    counts |= {f"{name} memory_kib": sum(map(_memory_kib, set(pids))) for name, pids in parties.items()}
    counts |= {
        "processes": len(marked(_marker(stage.players.directory))),
        "cgroups": _cgroups(players.tenant.pid),
    }
    counts["files"] = sum(
        1 for path in players.directory.rglob("*") if not path.name.startswith(("ticks", "board", "switch"))
    )
    return Census(time.monotonic_ns(), counts)


def leftovers(directory: Path) -> Census:
    """When everything has ended: nothing may be there."""
    return Census(time.monotonic_ns(), {"left processes": len(marked(_marker(directory)))})


def sweep(directory: Path) -> None:
    """Kills whatever is left, also when a lane fails half-way."""
    while left := marked(_marker(directory)):
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.02)


def _marker(directory: Path) -> bytes:
    return f"{MARKER}={directory}".encode()


def _descriptors(pid: int) -> int:
    with contextlib.suppress(OSError):
        return len(os.listdir(f"/proc/{pid}/fd"))  # noqa: PTH208
    return 0


def _memory_kib(pid: int) -> int:
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1])
    return 0


def _cgroups(tenant: int) -> int:
    """Tenants' cgroups of owners that are gone; ours does not count. Others' casts run beside us."""
    names = [path.name for path in own_cgroup().glob("valve-job-*")]
    return sum(not Path("/proc", name.rpartition("-")[2]).exists() for name in names) + (0 if tenant else 1)
