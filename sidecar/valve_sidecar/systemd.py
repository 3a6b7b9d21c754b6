"""What `valve serve` tells systemd: that it is ready, that it lives, who it is now (sd_notify(3))."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager

log = logging.getLogger(__name__)
PINGS = 4  # in the time after which systemd takes us for hung


def notify(*lines: str) -> None:
    """Such as "READY=1". Nothing happens if nobody asked for it; what cannot be said is lost."""
    name = os.environ.get("NOTIFY_SOCKET", "")
    if not name:
        return
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
            sock.connect("\0" + name[1:] if name.startswith("@") else name)
            sock.sendall("\n".join(lines).encode())
    except OSError as error:
        log.warning("cannot tell systemd %s: %s", lines[0], error)


def watchdog_s(environment: Mapping[str, str], pid: int) -> float | None:
    """After how long a silence systemd ends us; None: never. Without WATCHDOG_PID it is meant for whoever
    reads it.
    """
    text = environment.get("WATCHDOG_USEC", "")
    if not text.isdigit() or environment.get("WATCHDOG_PID", str(pid)) != str(pid):
        return None
    return int(text) / 1e6


@asynccontextmanager
async def watched(responds: Callable[[], Awaitable[bool]]) -> AsyncIterator[None]:
    """Tells systemd that we live for as long as `responds` says so."""
    limit_s = watchdog_s(os.environ, os.getpid())
    if limit_s is None:
        yield
        return
    task = asyncio.create_task(_ping_for_ever(responds, limit_s / PINGS), name="valve-watchdog")
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _ping_for_ever(responds: Callable[[], Awaitable[bool]], interval_s: float) -> None:
    while True:
        if await responds():
            notify("WATCHDOG=1")
        else:
            log.error("the data plane does not respond; systemd is not told that all is well")
        await asyncio.sleep(interval_s)
