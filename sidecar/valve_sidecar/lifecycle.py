"""Start and stop of a serving process: the line that says it is ready, the signals that end it."""

from __future__ import annotations

import asyncio
import signal
import sys

from .config import ServeConfig
from .policy import goal_of, promise


def stop_event() -> asyncio.Event:
    """Set by the first SIGTERM or SIGINT. Call it inside the loop."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    return stop


def print_ready(config: ServeConfig, listen: str, admin: str) -> None:
    print(
        f"valve: serving on {listen} for {config.upstream} (mode {config.mode}, admin {admin})",
        file=sys.stderr,
        flush=True,
    )
    print(f"valve: {promise(goal_of(config))}", file=sys.stderr, flush=True)
