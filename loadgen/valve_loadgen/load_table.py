"""Owns the printed form of a `valve bench run` report."""

from typing import Any

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from valve_loadgen.table import PLAIN_WIDTH, number, percent

FIGURES = (
    ("ttft_ms", "TTFT (from the scheduled time)"),
    ("ttft_from_send_ms", "TTFT (from the send)"),
    ("tpot_ms", "TPOT"),
    ("icl_ms", "gap between chunks"),
    ("latency_ms", "latency"),
    ("send_lag_ms", "send lag of the client"),
)


def show(report: dict[str, Any]) -> None:
    console = Console()
    if not console.is_terminal:
        console = Console(width=PLAIN_WIDTH)
    console.print(render(report))


def render(report: dict[str, Any]) -> RenderableType:
    """Figures, then counts, then whether to believe them. An invalid run shows reasons instead of figures."""
    if not report["valid"]:
        return Group(Text(_counts(report)), *(Text(f"INVALID: {each}", "red") for each in report["reasons"]))
    return Group(_figures(report), Text(_counts(report)))


def _figures(report: dict[str, Any]) -> Table:
    table = Table(title=report["load"])
    table.add_column("ms")
    for heading in ("p50", "95 % interval", "p90", "p99", "max", "n"):
        table.add_column(heading, justify="right")
    for key, title in FIGURES:
        table.add_row(title, *_row(report[key]))
    return table


def _row(told: dict[str, Any]) -> list[str]:
    interval = told["p50_ci95"]
    return [
        number(told["p50"]),
        f"{interval[0]:.2f} to {interval[1]:.2f}" if interval else "-",
        number(told["p90"]),
        "too few" if told["p99"] is None else number(told["p99"]),
        number(told["max"]),
        str(told["n"]),
    ]


def _counts(report: dict[str, Any]) -> str:
    requests, rate, goodput = report["requests"], report["rate"], report["goodput"]
    lines = [
        f"{requests['counted']} requests counted: {requests['completed']} completed, "
        f"{requests['cancelled']} cancelled by the client, {requests['failed']} failed",
        f"{rate['completed_per_s']:.2f} of {rate['planned_per_s']:.2f} requests/s; "
        f"{rate['delivered_fraction']:.1%} of the planned rate sent; "
        f"{report['output_tokens_per_s']:.0f} output tokens/s",
    ]
    if goodput:
        bounds = ", ".join(f"{name} <= {bound:g}" for name, bound in goodput["slo"].items())
        good = f"{goodput['requests_per_s']:.2f} requests/s, {percent(goodput['fraction'])}"
        lines.append(f"goodput: {good} ({bounds})")
    return "\n".join(lines + [f"failed: {each}" for each in report["errors"][:3]])
