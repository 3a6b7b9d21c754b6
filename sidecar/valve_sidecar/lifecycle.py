"""The life of a serving process: it starts, says that it is ready, and is stopped or succeeded.

SIGTERM and SIGINT stop it: nobody new is let in, what runs ends. SIGUSR2 has it succeeded by a new process
that takes over its sockets (docs/upgrade.md): nobody notices.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import time
from collections.abc import Coroutine
from socket import socket
from typing import Any, Protocol

from .admin import AdminServer
from .config import ServeConfig
from .errors import SidecarError
from .handed import Handed
from .policy import goal_of, promise
from .successor import start_successor
from .systemd import notify, watched
from .version import installed_version

log = logging.getLogger(__name__)


class Server(Protocol):
    """What lives: one worker, or the supervisor of several. `start`, perhaps `retire`, then `drain`."""

    async def start(self) -> None:
        """Raises SidecarError; may be cancelled."""
        ...

    async def retire(self) -> None:
        """Others have our sockets: serves whoever is connected until nobody is, or the grace is over."""
        ...

    async def drain(self) -> None:
        """Stops accepting, lets exchanges end, gives everything back."""
        ...

    async def responds(self) -> bool:
        """Whether what carries requests is not hung."""
        ...

    @property
    def sockets(self) -> list[socket]:
        """Those that listen for clients, for a successor."""
        ...

    @property
    def listening_on(self) -> str: ...


class Signals:
    """Make it inside the loop. SIGUSR2 is for processes that can be succeeded or told that they are."""

    def __init__(self) -> None:
        self.stop, self.succeed = asyncio.Event(), asyncio.Event()
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self.stop.set)
        loop.add_signal_handler(signal.SIGINT, self.stop.set)
        loop.add_signal_handler(signal.SIGUSR2, self.succeed.set)

    async def until_stop(self, work: Coroutine[Any, Any, None]) -> None:
        """Does it, unless we are to stop meanwhile. Raises what it raises."""
        await first_of(work, self.stop.wait())

    async def next(self) -> asyncio.Event:
        """`stop`, which stays, or `succeed`, which may come again."""
        await first_of(self.stop.wait(), self.succeed.wait())
        if self.stop.is_set():
            return self.stop
        self.succeed.clear()
        return self.succeed


async def first_of(*works: Coroutine[Any, Any, Any]) -> None:
    """Waits until one has ended, and cancels the others. Raises what that one raised."""
    tasks = [asyncio.create_task(work) for work in works]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in done:
        task.result()


async def live(server: Server, admin: AdminServer, config: ServeConfig, handed: Handed) -> None:
    """From start to end. The admin is up first, so that probes see a start that takes long. Raises
    SidecarError.
    """
    signals = Signals()
    await admin.start()
    try:
        await signals.until_stop(server.start())
        if not signals.stop.is_set():
            _announce(server, admin, config, handed)
        async with watched(server.responds):
            succeeded = await _until_ended(server, admin, signals)
        if succeeded:
            await admin.leave()
            await signals.until_stop(server.retire())
        else:
            notify("STOPPING=1")
        await server.drain()
    finally:
        await admin.stop()


def _announce(server: Server, admin: AdminServer, config: ServeConfig, handed: Handed) -> None:
    """To people, to systemd, and to whom we succeed."""
    text = f"serving on {server.listening_on} for {config.upstream} (mode {config.mode}, admin {admin.bound})"
    print(f"valve: {text}", file=sys.stderr, flush=True)
    print(f"valve: {promise(goal_of(config))}", file=sys.stderr, flush=True)
    handed.tell_ready()
    if handed.ready_fd is None:  # else our predecessor tells: we are not yet the one whom systemd believes
        notify("READY=1", f"STATUS={installed_version()}, {text}")


async def _until_ended(server: Server, admin: AdminServer, signals: Signals) -> bool:
    """True: we have a successor."""
    while await signals.next() is signals.succeed:
        notify("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}", "STATUS=starting a successor")
        try:
            pid = await start_successor(server.sockets, admin.sockets)
        except SidecarError as error:
            log.error("no successor: %s; going on", error)
            notify("READY=1", f"STATUS={installed_version()}, going on: {error}")
            continue
        log.info("succeeded by process %d", pid)
        notify(f"MAINPID={pid}", "READY=1", f"STATUS=process {pid} has taken over from {os.getpid()}")
        return True
    return False
