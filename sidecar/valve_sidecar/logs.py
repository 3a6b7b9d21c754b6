"""What the log looks like: a line of text for a person, one JSON object a line for everything else."""

from __future__ import annotations

import logging
import sys
import time
from typing import Any

import orjson

TEXT = "valve: %(levelname)s: %(message)s"


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


def set_up_logging(level: str = "info", *, as_json: bool = False) -> None:
    """To standard error; may be called again. Not a line per question of ours to the engine."""
    handler = StandardError(sys.stderr)
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
    """What `valve serve` and its processes do: JSON unless somebody watches."""
    set_up_logging(level, as_json=not sys.stderr.isatty())
