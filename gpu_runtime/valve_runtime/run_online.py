"""`valve run --online`: an online engine with its KV in a pool. It has no gate, and nothing of it is ever
stopped; so this process becomes the engine, and no other is left to stand by.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

from . import kv_pool, shim
from .errors import TenantError
from .kv_pool import PoolOptions


@dataclass(frozen=True, slots=True)
class OnlineOptions:
    """As RunOptions; `pool` is what it is for."""

    job: str | None
    devices: tuple[str, ...]
    runtime_dir: Path
    pool: PoolOptions
    pinned: bool = False
    environment: Mapping[str, str] = field(default_factory=dict)


def run_online(command: list[str], options: OnlineOptions) -> NoReturn:
    """Executes the command in our place.

    Raises TenantError (no shim for it, cannot be started), SegmentError (no table).
    """
    obstacle = shim.why_not_preloadable(command[0])
    if obstacle:
        raise TenantError(f"{command[0]} can have no KV pool: {obstacle.reason}")
    library = shim.library()
    table = kv_pool.make_table(options.runtime_dir, options.pool)
    try:
        os.execvpe(command[0], command, _environment(command, options, library, table))
    except OSError as error:
        table.unlink(missing_ok=True)
        raise TenantError(f"cannot start {command[0]}: {error.strerror}") from error


def _environment(command: list[str], options: OnlineOptions, library: Path, table: Path) -> dict[str, str]:
    """What makes a process a tenant is taken out: whoever starts an online engine may be one itself."""
    base = {name: text for name, text in os.environ.items() if name not in shim.TENANT_VARIABLES}
    base |= options.environment
    job = options.job or f"{Path(command[0]).name}-{os.getpid()}"
    order = shim.Order(options.runtime_dir, job, 0, options.devices, options.pinned)
    preload = order.online_environment(library, base)
    return base | order.visibility() | preload | kv_pool.environment(options.pool, table)
