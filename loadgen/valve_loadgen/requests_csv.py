"""Owns requests.csv: one line a request, as measured."""

import csv
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from valve_loadgen.exchange import Exchange

COLUMNS = (
    "request_id",
    "sched_ns",
    "send_ns",
    "head_ns",
    "first_token_ns",
    "last_token_ns",
    "done_ns",
    "status",
    "prompt_tokens",
    "tokens",
    "chunks",
    "cancelled",
    "error",
)


def row(exchange: Exchange) -> list[Any]:
    """In order of COLUMNS."""
    tokens = exchange.token_ns
    return [
        exchange.request_id,
        exchange.sched_ns,
        exchange.send_ns,
        exchange.head_ns,
        tokens[0] if tokens else "",
        tokens[-1] if tokens else "",
        exchange.done_ns,
        exchange.status,
        exchange.prompt_tokens,
        exchange.tokens,
        len(tokens),
        int(exchange.cancelled),
        exchange.error or "",
    ]


def write(file: Path, exchanges: Iterable[Exchange]) -> None:
    """FILE with a header, the stamps in CLOCK_MONOTONIC ns."""
    with file.open("w", newline="") as output:
        writer = csv.writer(output)
        writer.writerow(COLUMNS)
        writer.writerows(map(row, exchanges))
