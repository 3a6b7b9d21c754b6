"""Tells people on standard error what happens to their job, for as long as somebody is there to read it."""

from __future__ import annotations

import contextlib
import os
import select
import sys

PATIENCE_S = 0.1


def say(text: str, speaker: str = "valve run") -> None:
    """One line; lost if standard error is gone or full. Cleaning up must not fail or wait because of it."""
    line = f"{speaker}: {text}\n".encode(errors="backslashreplace")
    if sys.stderr is None:  # type: ignore[redundant-expr,unused-ignore]  # closed by our caller
        return
    with contextlib.suppress(OSError, ValueError):
        fd = sys.stderr.fileno()
        if select.select([], [fd], [], PATIENCE_S)[1]:
            os.write(fd, line)  # unbuffered: what is left in a buffer fails again when we exit
