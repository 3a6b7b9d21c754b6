"""What the log looks like: a line of text for a person, one JSON object a line for everything else."""

from __future__ import annotations

import logging
import os
import queue
import sys
import threading
import time
from typing import Any

import orjson

TEXT = "valve: %(levelname)s: %(message)s"
LINES_MAX = 10_000  # that wait for a reader of standard error; what comes beyond is dropped
FLUSH_S = 1.0  # at the end, for the last lines


class JsonFormatter(logging.Formatter):
    """time, level, logger, message; then what the call gave as extra={"fields": {...}}, trace ids say."""

    def format(self, record: logging.LogRecord) -> str:
        seconds = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        content: dict[str, Any] = {
            "time": f"{seconds}.{int(record.msecs):03}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            content["exception"] = self.formatException(record.exc_info)
        told = getattr(record, "fields", {})
        rest = {key: value for key, value in told.items() if key not in content}
        return orjson.dumps(content | rest, default=str).decode()


class StandardError(logging.StreamHandler):  # type: ignore[type-arg]  # not generic at run time
    """Ours, so that a second set-up replaces it and nobody else's."""


class UnwaitingStandardError(StandardError):
    """A thread writes, so that only it waits when nobody reads: a dead log holds up no request."""

    def __init__(self, fd: int) -> None:
        super().__init__()
        self._fd, self._lines = fd, queue.Queue[str](LINES_MAX)
        self.dropped = 0
        threading.Thread(target=self._write, name="valve-log", daemon=True).start()

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._lines.put_nowait(self.format(record) + "\n")
        except queue.Full:
            self.dropped += 1

    def flush(self) -> None:
        """When logging shuts down."""
        with self._lines.all_tasks_done:
            self._lines.all_tasks_done.wait_for(lambda: not self._lines.unfinished_tasks, FLUSH_S)

    def _write(self) -> None:
        while True:
            line = self._lines.get().encode(errors="replace")
            try:
                while line:
                    line = line[os.write(self._fd, line) :]
            except OSError:
                self.dropped += 1  # its reader is gone, or the disk is full
            self._lines.task_done()


def set_up_logging(level: str = "info", *, as_json: bool = False, waits: bool = True) -> None:
    """To standard error; may be called again. Not a line per question of ours to the engine."""
    handler = StandardError(sys.stderr) if waits else UnwaitingStandardError(sys.stderr.fileno())
    handler.setFormatter(JsonFormatter() if as_json else logging.Formatter(TEXT))
    root = logging.getLogger()
    root.handlers = [other for other in root.handlers if not isinstance(other, StandardError)] + [handler]
    root.setLevel(logging.INFO)
    logging.getLogger("valve_sidecar").setLevel(level.upper())
    logging.getLogger("httpx").setLevel(logging.WARNING)


def fields(told: dict[str, Any]) -> dict[str, Any]:
    """For a call's `extra`: what the line has besides its message, in JSON."""
    return {"fields": told}


def log_like_a_service(level: str) -> None:
    """What `valve serve` and its processes do: JSON unless somebody watches, and never a wait."""
    set_up_logging(level, as_json=not sys.stderr.isatty(), waits=False)
