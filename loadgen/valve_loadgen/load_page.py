"""Owns the HTML report of `valve bench run` (pure)."""

import itertools
from collections.abc import Iterable, Sequence
from typing import Any

from valve_loadgen import stats
from valve_loadgen.exchange import Exchange
from valve_loadgen.load_table import FIGURES
from valve_loadgen.page import page, paragraph, section, side_by_side, table, tiles
from valve_loadgen.svg import Axis, Chart
from valve_loadgen.table import number
from valve_loadgen.table import percent as whole_percent

NARROW, WIDE = 520, 1060
BINS = 100


def html(report: dict[str, Any], exchanges: Sequence[Exchange]) -> str:
    """One self-contained document from report.json and the requests, warm-up and tail included."""
    lead = f"{report['load']}. {report['model']} at {report['target']}, {report['date']}"
    return page("Load run", lead, _body(report, [each for each in exchanges if each.send_ns]))


def _body(report: dict[str, Any], exchanges: Sequence[Exchange]) -> Iterable[str]:
    if not report["valid"]:
        yield section("INVALID: no figures", *map(paragraph, report["reasons"]), kind="advice")
        return
    yield _tiles(report)
    yield section("Figures", _table(report))
    if exchanges:
        yield section("Requests in flight", _in_flight(exchanges))
        yield side_by_side(*(section(title, _histogram(exchanges, key)) for key, title in FIGURES[:4:2]))
        yield section("TTFT over time", _over_time(exchanges))
    yield section("How this was measured", *_circumstances(report))


def _tiles(report: dict[str, Any]) -> str:
    rate, goodput = report["rate"], report["goodput"]
    shown = [
        (f"{number(report['ttft_ms']['p50'], 1)} ms", "TTFT, median, from the scheduled time"),
        (f"{number(report['tpot_ms']['p50'], 2)} ms", "TPOT, median"),
        (f"{rate['completed_per_s']:.1f}", f"requests/s completed of {rate['planned_per_s']:.1f} planned"),
        (f"{report['output_tokens_per_s']:.0f}", "output tokens/s"),
    ]
    if goodput:
        shown.append((whole_percent(goodput["fraction"]), "met the SLO"))
    return tiles(shown)


def _table(report: dict[str, Any]) -> str:
    rows = []
    for key, title in FIGURES:
        told = report[key]
        p99 = "too few" if told["p99"] is None else number(told["p99"])
        rows.append(
            (title, number(told["p50"]), number(told["p90"]), p99, number(told["max"]), str(told["n"]))
        )
    return table(("ms", "p50", "p90", "p99", "max", "n"), rows)


def _in_flight(exchanges: Sequence[Exchange]) -> str:
    start_ns = exchanges[0].sched_ns
    changes = sorted(
        [((each.send_ns - start_ns) / 1e9, 1) for each in exchanges]
        + [((each.done_ns - start_ns) / 1e9, -1) for each in exchanges if each.done_ns]
    )
    counts = list(itertools.accumulate(change for _, change in changes))
    times = [at_s for at_s, _ in changes]
    steps = [(0.0, 0.0)]
    for at_s, count in zip(times, counts, strict=True):
        steps += [(at_s, steps[-1][1]), (at_s, float(count))]
    chart = Chart(
        "Requests in flight", Axis(0, times[-1], "s"), Axis(0, max(counts) * 1.1, "in flight"), WIDE, 200
    )
    chart.area(steps, 0, opacity=0.55)
    return chart.svg()


def _histogram(exchanges: Sequence[Exchange], figure: str) -> str:
    """Of one figure of the requests, cut at the 99.5th percentile."""
    values = [value for each in exchanges if each.ok and (value := getattr(each, figure)) is not None]
    if len(values) < 2:
        return paragraph("Too few requests.")
    low, high = min(values), stats.percentile(values, 0.995)
    width = (high - low) / BINS or 1e-6
    heights = [0] * BINS
    for value in values:
        if value <= high:
            heights[min(int((value - low) / width), BINS - 1)] += 1
    chart = Chart(
        figure, Axis(low, low + width * BINS, "ms"), Axis(0, max(heights) * 1.1, "requests"), NARROW
    )
    chart.histogram([low + i * width for i in range(BINS + 1)], heights, 0)
    chart.rule(f"median {stats.percentile(values, 0.5):.2f} ms", x=stats.percentile(values, 0.5))
    return chart.svg()


def _over_time(exchanges: Sequence[Exchange]) -> str:
    """Median and 90th percentile of successive stretches."""
    done = [each for each in exchanges if each.ok and each.ttft_ms is not None]
    if not done:
        return paragraph("No request was answered.")
    start_ns, span_ns = done[0].sched_ns, done[-1].sched_ns - done[0].sched_ns + 1
    pieces = min(60, max(1, len(done) // 20))
    bins: list[list[float]] = [[] for _ in range(pieces)]
    for each in done:
        bins[(each.sched_ns - start_ns) * pieces // span_ns].append(each.ttft_ms or 0.0)
    middles = [((i + 0.5) * span_ns / pieces / 1e9, each) for i, each in enumerate(bins) if each]
    lines = {q: [(at_s, stats.percentile(each, q)) for at_s, each in middles] for q in (0.5, 0.9)}
    high = max(value for _, value in lines[0.9]) * 1.1
    chart = Chart("TTFT over time", Axis(0, span_ns / 1e9, "s"), Axis(0, high, "TTFT, ms"), WIDE, 220)
    chart.line(lines[0.9], 1, "90 % below")
    chart.line(lines[0.5], 0, "median")
    return chart.svg()


def _circumstances(report: dict[str, Any]) -> Iterable[str]:
    window, check, machine = report["window"], report["self_check"], report["machine"]
    yield paragraph(
        f"Counted: requests scheduled from {window['warmup_s']:g} s on, for {window['counted_s']:g} s. "
        f"{whole_percent(report['rate']['delivered_fraction'])} of the planned rate was sent, from "
        f"{report['processes']} process(es). Prompt lengths by {report['prompts_by']}. Output length "
        f"{'fixed' if report['fixed_length'] else 'at most as asked: the server refuses ignore_eos'}."
    )
    if check:
        yield paragraph(
            f"Self-check at {check['rate']:g} requests/s just before: TTFT error p50 "
            f"{number(check['ttft_ms_error']['p50'], 3)} ms, gap error p50 "
            f"{number(check['gap_ms_error']['p50'], 4)} ms."
        )
    yield paragraph(f"{machine['cpu']}, {machine['cores']} cores, Linux {machine['kernel']}.", "soft")
