"""Owns the printed form of a report of `valve bench spread`."""

from typing import Any

from rich.console import Console
from rich.table import Table

TITLES = {"round_robin": "round robin", "pack_first": "pack first"}


def show(report: dict[str, Any], console: Console | None = None) -> None:
    """One row an arm: measured beside simulated."""
    console = console or Console()
    table = Table(title=f"{report['replicas']} replicas, online engine: {report['engine']}")
    for column in (
        "spread",
        "harvested",
        "gate open",
        "simulated",
        "preempted",
        "TTFT p50",
        "TPOT p50",
    ):
        table.add_column(column, justify="left" if column == "spread" else "right")
    for arm, figures in report["arms"].items():
        table.add_row(TITLES[arm], *_cells(figures["measured"], figures["predicted"]))
    console.print(table)
    for reason in report["reasons"]:
        console.print(f"not valid: {reason}")


def _cells(measured: dict[str, Any], predicted: dict[str, Any]) -> list[str]:
    return [
        f"{measured['harvest_fraction']:.1%}",
        f"{measured['gate_open_fraction']:.1%}",
        f"{predicted['harvest_fraction']:.1%}",
        f"{measured['preemptions_per_request']:.2f}",
        f"{measured['ttft_ms']['p50']:.0f} ms",
        f"{measured['tpot_ms']['p50']:.1f} ms",
    ]
