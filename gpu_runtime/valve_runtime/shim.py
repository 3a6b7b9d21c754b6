"""The preload shim of a GPU job, from outside: how it gets into the job's processes, and which of them use a
GPU without it.

Every process of the tree gets it by environment. One that has GPU channels is a *rank*: it has a row of its
own and stops them by itself. One that uses a GPU and does not become a rank can only be frozen, which does
not halt what it has on the GPU already.
"""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from . import native
from .device_id import CPU
from .errors import TenantError
from .notice import say
from .program import Obstacle, obstacle
from .tree import Process

LIBRARY_NAME = "libvalve_preload.so"
SHIM_DEADLINE_S = 5.0  # for a process that uses a GPU to become a rank
TENANT_VARIABLES = ("VALVE_RUNNER", "VALVE_DEVICES")  # what makes a process a rank of a tenant

# Device files, and what the tests' fake driver gives in their place.
_GPU_FILE = re.compile(r"/dev/nvidia(ctl|-uvm|\d+)|/memfd:nvidia(ctl|-uvm|\d+) \(deleted\)")
# Channels ring their doorbell in a mapping of the GPU's own file.
_GPU_MAPPING = re.compile(r"^.* (?:/dev/nvidia\d+|/memfd:nvidia\d+ \(deleted\))$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Order:
    """What the shim in a job's processes has to be told: native/preload/rank.h."""

    runtime_dir: Path
    job: str
    runner_pid: int
    devices: tuple[str, ...]
    pinned: bool = False

    def visibility(self) -> dict[str, str]:
        """What keeps CUDA from other GPUs than the job's, if that is wanted."""
        gpus = [device for device in self.devices if device != CPU]
        return {"CUDA_VISIBLE_DEVICES": ",".join(gpus)} if self.pinned else {}

    def environment(self, library: Path, base: Mapping[str, str]) -> dict[str, str]:
        """To be added to `base`."""
        return self.online_environment(library, base) | {
            "VALVE_RUNNER": str(self.runner_pid),
            "VALVE_DEVICES": ",".join(self.devices),
        }

    def online_environment(self, library: Path, base: Mapping[str, str]) -> dict[str, str]:
        """The same for a process that is no tenant. What is preloaded there already stays, after the shim."""
        others = [name for name in re.split("[ :]+", base.get("LD_PRELOAD", "")) if name != str(library)]
        return {
            "LD_PRELOAD": ":".join(filter(None, [str(library), *others])),
            "VALVE_RUNTIME_DIR": str(self.runtime_dir.absolute()),
            "VALVE_JOB_NAME": self.job,
        }


def is_gpu_job(devices: Iterable[str]) -> bool:
    return any(device != CPU for device in devices)


def find_library() -> Path | None:
    """The shim, beside libvalve.so."""
    path = native.library().path.with_name(LIBRARY_NAME)
    return path if path.is_file() else None


def library() -> Path:
    """The shim. Raises TenantError where there is none."""
    path = find_library()
    if path is None:
        raise TenantError(f"there is no {LIBRARY_NAME} beside {native.library().path}: run `make native`")
    return path


def why_not_preloadable(command: str) -> Obstacle | None:
    """Why the shim cannot be loaded into what `command` (its first word) executes; None: it can be."""
    found = find_library()
    if found is None:
        place = native.library().path.parent
        return Obstacle(f"there is no {LIBRARY_NAME} in {place} (run `make native`)", breaks=True)
    if re.search("[ :]", str(found)):
        return Obstacle(f"{found} has a blank or a colon in its name", breaks=True)
    return obstacle(command, found)


def environment(order: Order, command: str, base: Mapping[str, str]) -> dict[str, str]:
    """What the command's environment needs besides `base`; tells people if the shim cannot be loaded."""
    found = why_not_preloadable(command)
    if found:
        say(
            f"Valve's shim cannot be loaded into {command}: {found.reason}; it can only be stopped by the "
            "freezer, which does not halt kernels already on the GPU"
        )
    path = find_library()
    return {} if path is None or (found and found.breaks) else order.environment(path, base)


# ---- who uses a GPU without it ----


def uses_gpu(pid: int, proc: Path = Path("/proc")) -> bool:
    """Whether it has a GPU's device file open. False for one that is gone or another user's."""
    with contextlib.suppress(OSError):
        for entry in (proc / str(pid) / "fd").iterdir():
            with contextlib.suppress(OSError):
                if _GPU_FILE.fullmatch(str(entry.readlink())):
                    return True
    return False


def is_idle_with_shim(pid: int, inherited: frozenset[str] = frozenset(), proc: Path = Path("/proc")) -> bool:
    """Whether the shim is in it, and it has no channels that the shim should have told of: it has only asked
    for the GPU's name, say, or it is the fork of a rank and has what was mapped there.
    """
    maps = _maps(pid, proc)
    return f"/{LIBRARY_NAME}" in maps and gpu_mappings(maps) <= inherited


def gpu_mappings(maps: str) -> frozenset[str]:
    """The lines of a process's map, addresses and all, that are of a GPU."""
    return frozenset(_GPU_MAPPING.findall(maps))


def _gpu_mappings_of(pids: Iterable[int]) -> frozenset[str]:
    return frozenset().union(*(gpu_mappings(_maps(pid)) for pid in pids))


def _maps(pid: int, proc: Path = Path("/proc")) -> str:
    """Empty for one that is gone or another user's."""
    try:
        return (proc / str(pid) / "maps").read_text(errors="replace")
    except OSError:
        return ""


class Unshimmed:
    """The processes of one tree that have used a GPU for SHIM_DEADLINE_S without becoming a rank."""

    def __init__(self) -> None:
        self._since_s: dict[Process, float] = {}
        self._of_ranks: frozenset[str] = frozenset()  # GPU mappings that a rank has or had
        self._told = False

    def look(self, members: Iterable[Process], ranks: Iterable[int]) -> tuple[Process, ...]:
        """Those among `members`; `ranks` are pids. To be called now and then."""
        known, now_s = frozenset(ranks), time.monotonic()
        users = [each for each in members if each.pid not in known and uses_gpu(each.pid)]
        if users:
            held = _gpu_mappings_of(each.pid for each in users)
            self._of_ranks = (self._of_ranks & held) | _gpu_mappings_of(known)
        suspects = [each for each in users if not is_idle_with_shim(each.pid, self._of_ranks)]
        self._since_s = {each: self._since_s.get(each, now_s) for each in suspects}
        return tuple(each for each, since_s in self._since_s.items() if now_s - since_s >= SHIM_DEADLINE_S)

    def tell_once(self, found: tuple[Process, ...]) -> None:
        """Names the first of them to people."""
        if self._told or not found:
            return
        self._told = True
        pid = found[0].pid
        say(
            f"{pid} {_name(pid)} uses a GPU without Valve's shim (static binary? LD_PRELOAD wiped?): it will "
            "be stopped by the freezer, which does not halt kernels already on the GPU"
        )


def _name(pid: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/comm").read_text(errors="replace").strip()
    return "?"
