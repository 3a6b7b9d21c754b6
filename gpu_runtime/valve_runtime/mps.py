"""Whether NVIDIA's Multi-Process Service runs here: its clients share one process's channels."""

from __future__ import annotations

import contextlib
from pathlib import Path

NAME = "nvidia-cuda-mps"  # what fits of it into /proc/PID/comm

REASON = (
    "the CUDA Multi-Process Service runs here (process {pid}): its clients share the server's channels, so "
    "that one of them cannot be stopped alone; end it with `echo quit | nvidia-cuda-mps-control`"
)


def find_server(proc: Path = Path("/proc")) -> int | None:
    """Its pid."""
    for entry in proc.glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if (entry / "comm").read_text().strip().startswith(NAME):
                return int(entry.name)
    return None
