"""Owns the printed form of a colocation report: four arms, then the ratios with their goals."""

from typing import Any

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from valve_loadgen.baselines import BASELINES

PLAIN_WIDTH = 120  # off a terminal nobody says how wide it is
NAMES = {
    "online_alone": "online alone",
    "offline_alone": "offline alone",
    "shared_no_gate": "shared, no gate",
    "shared_valve": "shared with Valve",
    "shared_budget": "shared, policy budget",
}
HEADINGS = ("TTFT ms\np50 / p90", "TPOT ms\np50 / p90", "requests", "offline\ntok/s", "drained", "harvested")
RATIOS = (("ttft_inflation", "TTFT p50"), ("tpot_inflation", "TPOT p50"))
STYLES = {"met": "green", "missed": "red", "inconclusive": "yellow"}


def name(arm: str) -> str:
    """What a person calls the arm."""
    baseline = BASELINES.get(arm.removeprefix("shared_"))
    return NAMES.get(arm) or (baseline.title if baseline else arm)


def number(value: float | None, digits: int = 2, unit: str = "") -> str:
    return "-" if value is None else f"{value:.{digits}f}{unit}"


def percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.0%}"


def tenths(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}"


def render(report: dict[str, Any]) -> RenderableType:
    """Everything a person wants to see of `report`."""
    parts: list[RenderableType] = [_arms(report), _ratios(report)]
    parts += [_budget(report)] if report.get("budget") else []
    parts += [_rivals(report)] if report["baselines"] else []
    parts.append(Text(_preemption(report)))
    parts += [Text(f"INVALID: {reason}", style="red") for reason in report["reasons"]]
    return Group(*parts)


def show(report: dict[str, Any]) -> None:
    console = Console()
    if not console.is_terminal:
        console = Console(width=PLAIN_WIDTH)
    console.print(render(report))


def _arms(report: dict[str, Any]) -> Table:
    arms = "The arms" if report["baselines"] else "Four arms"
    table = Table(title=f"{arms} on the same arrivals (rounds: {report['rounds']})")
    table.add_column("arm")
    for heading in HEADINGS:
        table.add_column(heading, justify="right")
    for arm, figures in report["arms"].items():
        table.add_row(*_row(arm, figures))
    return table


def _row(arm: str, figures: dict[str, Any]) -> list[str]:
    return [
        name(arm),
        _quantiles(figures["ttft_ms"], 0),
        _quantiles(figures["tpot_ms"], 2),
        str(figures["requests"] or "-"),
        number(figures["offline_tokens_per_s"] or None, 1),
        percent(figures["drained_fraction"]) if figures["requests"] else "-",
        percent(figures["harvested_fraction"] or None),
    ]


def _quantiles(summary: dict[str, Any] | None, digits: int) -> str:
    return f"{number(summary['p50'], digits)} / {number(summary['p90'], digits)}" if summary else "-"


def _ratios(report: dict[str, Any]) -> Table:
    table = Table(title="Against alone, median with 95 % interval")
    for heading in ("figure", "with Valve", "goal", "verdict", "no gate"):
        table.add_column(heading)
    for figure, title in RATIOS:
        told, naive = report[figure], report[f"{figure}_no_gate"]
        row = (_interval(told), f"< {told['goal']}", _verdict(told["verdict"]), _interval(naive))
        table.add_row(f"{title}, x alone", *row)
    most, verdict = report["preemptions_per_request_max"], _verdict(report["at_most_once_verdict"])
    table.add_row("preemptions per request, max", "-" if most is None else str(most), "1", verdict)
    told = {"p50": report["harvest_efficiency"], "ci95": report["harvest_efficiency_ci95"]}
    verdict = _verdict(report["harvest_efficiency_verdict"])
    table.add_row("harvest efficiency", _interval(told), "> 0.9", verdict)
    return table


def _budget(report: dict[str, Any]) -> Table:
    told = report["budget"]
    table = Table(title=f"Policy budget, TPOT SLO {told['slo_tpot_ms']:g} ms")
    table.add_column("figure")
    for arm in told["attainment"]:
        table.add_column(name(arm), justify="right")
    table.add_row("requests within the SLO", *map(tenths, told["attainment"].values()))
    harvested = [report["arms"][arm]["harvested_fraction"] or None for arm in told["attainment"]]
    table.add_row("harvested", *map(percent, harvested))
    inflation = {"shared_budget": told, "shared_valve": report}
    for figure, title in RATIOS:
        cells = [_interval(inflation[arm][figure]) if arm in inflation else "-" for arm in told["attainment"]]
        table.add_row(f"{title}, x alone", *cells)
    bound = number(told["slices_per_s"], 1)
    table.add_row("slices/s", *(bound if arm == "shared_budget" else "-" for arm in told["attainment"]))
    return table


def _rivals(report: dict[str, Any]) -> Table:
    table = Table(title="Instead of Valve")
    table.add_column("baseline")
    for _figure, title in RATIOS:
        table.add_column(f"{title}, x alone")
    for arm, against in report["baselines"].items():
        table.add_row(name(arm), *(_interval(against[figure]) for figure, _title in RATIOS))
    return table


def _interval(told: dict[str, Any]) -> str:
    interval = told["ci95"]
    return number(told["p50"], 3) + (f" [{interval[0]:.3f}, {interval[1]:.3f}]" if interval else "")


def _verdict(verdict: str) -> Text:
    return Text(verdict, style=STYLES[verdict])


def _preemption(report: dict[str, Any]) -> str:
    latency = report["preemption_latency_ms"]
    p99 = "p99 needs more samples" if latency["p99"] is None else f"p99 {latency['p99']:.2f} ms"
    return (
        f"{report['preemptions']} preemptions; "
        f"per online request at most {report['preemptions_per_request_max']}, "
        f"on average {number(report['preemptions_per_request_mean'])}\n"
        f"preemption latency p50 {number(latency['p50'])} ms, {p99}, max {number(latency['max'])} ms "
        "(request readable -> every thread of the offline engine seen stopped)"
    )
