"""`valve serve`: one worker with its admin endpoint, or several workers under a supervisor
(supervisor.py).
"""

from __future__ import annotations

import asyncio
import logging
import os
from pathlib import Path

import uvloop

from valve_runtime.devices import resolve
from valve_runtime.rundir import choose_runtime_dir

from .access import read_token
from .address import Address
from .admin import AdminServer
from .config import Mode, ServeConfig
from .errors import ConfigError
from .handed import Handed, take_handed
from .lifecycle import live
from .listener import Listener
from .policy import goal_of
from .span_feed import exporting
from .supervisor import supervise
from .worker import Worker

log = logging.getLogger(__name__)


def serve(config: ServeConfig) -> int:
    """Runs until SIGTERM or SIGINT; returns the exit code. Raises SidecarError, ValveRuntimeError."""
    _check_addresses(config)
    goal_of(config)
    runtime_dir = choose_runtime_dir(config.runtime_dir or None)
    devices = resolve(config.device)
    handed = take_handed(os.environ)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        if config.workers == 1:
            runner.run(_serve_alone(config, runtime_dir, devices, handed))
        else:
            runner.run(supervise(config, runtime_dir, handed))
    return 0


async def _serve_alone(
    config: ServeConfig, runtime_dir: Path, devices: tuple[str, ...], handed: Handed
) -> None:
    token = read_token(config.admin_token_file)
    listener = Listener(Address.parse(config.listen), given=handed.listen)
    worker = Worker(config, runtime_dir, devices, listener)
    async with exporting(config, worker.sources) as sources:
        admin = AdminServer(Address.parse(config.admin), sources, handed.admin, token)
        await live(worker, admin, config, handed)


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
