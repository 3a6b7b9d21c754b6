"""What `valve run --kv-pool` sets up: the pool table, and what the shim in the engine has to be told.

The pool itself is in the shim (native/preload/pool.h). A table lies in the runtime directory for as long as
the process that made it lives, under a name by which others can tell.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from . import native, shim
from .device_id import CPU
from .errors import DeviceError
from .namespace import own_pid_namespace
from .pool import PoolTable
from .tree import Process, start_ticks

_FILE_NAME = re.compile(r"pool\.(\d+)\.(\d+)\.(\d+)")
_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}


@dataclass(frozen=True, slots=True)
class PoolOptions:
    """In pages of 2 MiB. `start_pages`: how many the engine is to have before it goes on; of an online
    engine, also its first share of the device.
    """

    pages: int
    start_pages: int = 0
    online: bool = False


def pages_of(text: str) -> int:
    """ "24GiB", "1.5G", "512M", or bytes; rounded up to pages. Raises ValueError saying what is wrong."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kmgt]?)(?:i?b)?", text.strip().lower())
    if not match:
        raise ValueError(f'no size: "{text}"; write 24GiB or 512MiB')
    pages = -(-int(float(match[1]) * _UNITS[match[2]]) // native.PAGE_BYTES)
    if not 0 < pages <= native.PAGES_MAX:
        raise ValueError(f"{text} is not between one page (2MiB) and {native.PAGES_MAX} of them (256GiB)")
    return pages


def check_devices(devices: Iterable[str]) -> None:
    """Raises DeviceError unless it is one GPU."""
    gpus = [device for device in devices if device != CPU]
    if len(gpus) != 1:
        found = f"{len(gpus)} GPUs" if gpus else "the CPU"
        raise DeviceError(f"a KV pool lies on one GPU, and this job computes on {found}: name one by --gpu")


def make_table(runtime_dir: Path, options: PoolOptions) -> Path:
    """A new table, of this process. Raises SegmentError."""
    pid = os.getpid()
    path = runtime_dir.absolute() / f"pool.{own_pid_namespace()}.{pid}.{start_ticks(pid)}"
    path.unlink(missing_ok=True)
    PoolTable.make(path, options.pages).close()
    return path


def environment(options: PoolOptions, table: Path) -> dict[str, str]:
    """For the engine, besides what any job with the shim gets."""
    return {
        "VALVE_POOL": str(table),
        "VALVE_POOL_ROLE": "online" if options.online else "offline",
        "VALVE_POOL_START": str(options.start_pages),
        "VALVE_SHIM": str(shim.library()),
    }


def remove_stale_tables(runtime_dir: Path) -> None:
    """Those whose process has died without removing them. Never raises."""
    for path in runtime_dir.glob("pool.*"):
        if is_stale(path):
            with contextlib.suppress(OSError):
                path.unlink()


def is_stale(path: Path) -> bool:
    """False for what another pid namespace made: nobody can tell from here."""
    match = _FILE_NAME.fullmatch(path.name)
    if not match or int(match[1]) != own_pid_namespace():
        return False
    return not Process(int(match[2]), int(match[3])).is_alive()
