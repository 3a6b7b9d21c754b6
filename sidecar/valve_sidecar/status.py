"""`valve status`: one screen of who holds which device and who is stopped, read from the node segment."""

from __future__ import annotations

import dataclasses
import io
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from valve_runtime import native
from valve_runtime.ledger import PAGE_BYTES, Ledger, ledgers
from valve_runtime.node import Node, Side, record_of

WIDTH = 110
WATCH_S = 1.0
PAGES_PER_GIB = (1 << 30) // PAGE_BYTES

HOLDER_COLUMNS = {
    "SIDECAR": "name",
    "PID": "pid",
    "GATE": "gate",
    "IN FLIGHT": "in_flight",
    "DEVICES": "devices",
    "CLOSES": "closes",
    "LAPSES": "lapses",
}
TENANT_COLUMNS = {
    "TENANT": "job",
    "RANK": "rank",
    "PID": "pid",
    "STATE": "state",
    "MECHANISM": "mechanism",
    "DEVICES": "devices",
    "PROCESSES": "processes",
    "CHANNELS": "channels",
    "STOPS": "stops",
    "TOKENS": "tokens",
    "TROUBLE": "trouble",
}
POOL_COLUMNS = {
    "KV POOL": "name",
    "ROLE": "role",
    "PID": "pid",
    "STATE": "state",
    "GIB": "gib",
    "OF": "of",
    "RECLAIMS": "reclaims",
    "PAGES LOST": "reclaimed",
    "LAST MS": "reclaim_ms",
    "ERRORS": "errors",
}
TROUBLE = (
    "slow_stops",
    "foreign_resumes",
    "escalations",
    "errors",
    "breathers",
    "unstopped_threads",
    "refusals",
    "unknown",
    "held",
)


def read_status(runtime_dir: Path) -> dict[str, Any]:
    """{"runtime_dir", "holders": [...], "tenants": [...], "memory": [...]}; all empty if nothing has run here
    yet.

    Raises SegmentError if the segment is there but unusable.
    """
    if not (runtime_dir / "holders").exists():
        return {"runtime_dir": str(runtime_dir), "holders": [], "tenants": [], "memory": []}
    with Node.open(runtime_dir, Side.OBSERVER) as node:
        return {
            "runtime_dir": str(runtime_dir),
            "holders": [record_of(view) for view in node.holders()],
            "tenants": [record_of(view) for view in node.tenants()],
            "memory": [_read_ledger(runtime_dir, device) for device in ledgers(runtime_dir)],
        }


def _read_ledger(runtime_dir: Path, device: str) -> dict[str, Any]:
    with Ledger.open(runtime_dir, device, observe=True) as ledger:
        return dataclasses.asdict(ledger.read())


def watch_status(runtime_dir: Path) -> None:
    """Again every second, until ctrl-C. Raises SegmentError."""
    with suppress(KeyboardInterrupt), Live(screen=sys.stdout.isatty(), auto_refresh=False) as live:
        while True:
            live.update(Text(render_status(read_status(runtime_dir))), refresh=True)
            time.sleep(WATCH_S)


def render_status(status: dict[str, Any]) -> str:
    """Two tables as plain text."""
    console = Console(file=io.StringIO(), width=WIDTH, force_terminal=False)
    console.print(f"node segment in {status['runtime_dir']}")
    if not status["holders"]:
        console.print("no sidecar: start one with `valve serve --upstream URL`")
    else:
        console.print(_table(HOLDER_COLUMNS, [_with_gate(row) for row in status["holders"]]))
    if not status["tenants"]:
        console.print("no tenant: start one with `valve run -- CMD`")
    else:
        console.print(_table(TENANT_COLUMNS, [_with_trouble(row) for row in _by_job(status["tenants"])]))
    for line in _other_layouts(status):
        console.print(line)
    for device in status["memory"]:
        console.print(_memory_line(device))
        console.print(_table(POOL_COLUMNS, [_pool(row) for row in device["parties"]]))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().rstrip()


def _other_layouts(status: dict[str, Any]) -> list[str]:
    """Who has been started by a version before or after this one."""
    rows = [(row["name"], row) for row in status["holders"]] + [
        (row["job"], row) for row in status["tenants"]
    ]
    text = "they work together; what either has not is not told of it"
    return [
        f"{name} (pid {row['pid']}) has layout {row['layout']}, this Valve {native.LAYOUT}: {text}"
        for name, row in rows
        if row["alive"] and row["layout"] != native.LAYOUT
    ]


def _memory_line(device: dict[str, Any]) -> str:
    names = ("online", "tenants", "free", "reserved", "limit")
    online, tenants, free, reserved, limit = (f"{device[name] / PAGES_PER_GIB:.1f}" for name in names)
    return (
        f"KV memory of {device['device']}, GiB: online {online}, tenants {tenants}, free {free} of {limit}; "
        f"reserved for online {reserved}"
    )


def _pool(row: dict[str, Any]) -> dict[str, Any]:
    return row | {
        "state": "alive" if row["alive"] else "dead",
        "gib": f"{row['leased'] / PAGES_PER_GIB:.1f}",
        "of": f"{row['pool_pages'] / PAGES_PER_GIB:.1f}",
        "reclaim_ms": f"{row['reclaim_ns'] / 1e6:.2f}" if row["reclaim_ns"] else "-",
    }


def _with_gate(row: dict[str, Any]) -> dict[str, Any]:
    live = row["alive"] and row["lease_remaining_ms"] > 0
    return row | {"gate": ("closed" if row["closed"] else "open") if live else "dead"}


def _by_job(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Each `valve run` with its ranks below it."""
    runners = {row["pid"] for row in rows if not row["runner_pid"]}
    alone = [row for row in rows if row["runner_pid"] not in runners]
    return [each for row in alone for each in (row, *_ranks(row["pid"], rows))]


def _ranks(runner_pid: int, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    ranks = [row for row in rows if row["runner_pid"] == runner_pid]
    return [row | {"job": f"  {row['job']}", "devices": "-", "processes": "-"} for row in ranks]


def _with_trouble(row: dict[str, Any]) -> dict[str, Any]:
    found = [f"{key.replace('_', ' ')} {row[key]}" for key in TROUBLE if row[key]]
    return row | {"state": row["state"] if row["alive"] else "dead", "trouble": ", ".join(found) or "-"}


def _table(columns: dict[str, str], rows: list[dict[str, Any]]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in columns:
        table.add_column(title, overflow="fold")
    for row in rows:
        table.add_row(*(_text(row[key]) for key in columns.values()))
    return table


def _text(value: Any) -> str:
    if value is None:  # not told
        return "-"
    return ", ".join(value) if isinstance(value, list | tuple) else str(value)
