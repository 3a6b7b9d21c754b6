"""`valve serve`: one worker with its admin endpoint, or several workers under a supervisor
(supervisor.py).
"""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import uvloop

from valve_runtime.devices import resolve
from valve_runtime.rundir import choose_runtime_dir

from .address import Address
from .admin import AdminServer
from .config import Mode, ServeConfig
from .errors import ConfigError
from .lifecycle import print_ready
from .member import run_worker
from .policy import goal_of
from .span_feed import exporting
from .supervisor import Supervisor
from .worker import Worker

log = logging.getLogger(__name__)


def serve(config: ServeConfig) -> int:
    """Runs until SIGTERM or SIGINT; returns the exit code. Raises SidecarError, ValveRuntimeError."""
    _check_addresses(config)
    goal_of(config)
    runtime_dir = choose_runtime_dir(config.runtime_dir or None)
    devices = resolve(config.device)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        if config.workers == 1:
            runner.run(_serve_alone(config, runtime_dir, devices))
        else:
            runner.run(Supervisor(config, runtime_dir).run())
    return 0


async def _serve_alone(config: ServeConfig, runtime_dir: Path, devices: tuple[str, ...]) -> None:
    worker = Worker(config, runtime_dir, devices)
    async with exporting(config, worker.sources) as sources:
        admin = AdminServer(Address.parse(config.admin), sources)
        ready = asyncio.Event()
        announcement = asyncio.create_task(_announce(config, worker, admin, ready))
        try:
            await run_worker(worker, admin, ready, member=False)
        finally:
            announcement.cancel()


async def _announce(config: ServeConfig, worker: Worker, admin: AdminServer, ready: asyncio.Event) -> None:
    await ready.wait()
    print_ready(config, worker.listening_on, str(admin.bound))


def _check_addresses(config: ServeConfig) -> None:
    listen, upstream = Address.parse(config.listen), Address.parse(config.upstream)
    Address.parse(config.admin)
    if (listen.host, listen.port, listen.path) == (upstream.host, upstream.port, upstream.path):
        raise ConfigError(
            f"listen and upstream are both {listen}: the sidecar would call itself; change --listen"
        )
    if config.workers > 1 and listen.path is not None:
        raise ConfigError(
            "several workers cannot share a unix socket: use --workers 1, or a TCP address for --listen"
        )
    if config.mode is Mode.BYPASS:
        log.warning("mode bypass: offline work is not stopped")
