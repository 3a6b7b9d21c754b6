"""Owns the HTML report of a colocation run (pure)."""

import itertools
from collections.abc import Iterable, Sequence
from typing import Any

from valve_loadgen import stats
from valve_loadgen.page import page, paragraph, section, side_by_side, table, tiles
from valve_loadgen.results import BUDGET, NO_GATE, OFFLINE_ALONE, ONLINE_ALONE, VALVE
from valve_loadgen.svg import Axis, Chart, Point, percent
from valve_loadgen.table import name, number, tenths
from valve_loadgen.table import percent as whole_percent

COLOURS = {VALVE: 0, NO_GATE: 1, ONLINE_ALONE: 2, OFFLINE_ALONE: 6, BUDGET: 5}
RIVAL_COLOURS = (3, 4, 5)
SHADE = 0.16
NARROW = 520


def html(report: dict[str, Any]) -> str:
    """One self-contained document from report.json."""
    lead = f"{report['load']}. {report['rounds']} rounds of {report['window_s']:g} s, {report['date']}"
    return page("Online and offline on one device", lead, _body(report))


def _body(report: dict[str, Any]) -> Iterable[str]:
    if report["reasons"]:
        yield section("This run is not valid", *map(paragraph, report["reasons"]), kind="advice")
    yield _tiles(report)
    yield section("The arms on the same arrivals", _arms(report))
    if report.get("budget"):
        yield section("The budget policy", *_budget(report["budget"], report["arms"]))
    yield section("One round as it went", *_timelines(report))
    yield side_by_side(
        section("Time to first token", distribution(report, "ttft_ms", "TTFT, ms")),
        section("Time per output token", distribution(report, "tpot_ms", "TPOT, ms")),
    )
    yield side_by_side(
        section("Preemption latency", *_latency(report)), section("What a preemption costs", *_cost(report))
    )
    yield side_by_side(
        section("Where the drained time lies", _gaps(report)),
        section("What each cool-down would yield", _sweep(report)),
    )
    yield section("Harvest over time", _over_time(report))
    yield section("How this was measured", *_circumstances(report))


def _tiles(report: dict[str, Any]) -> str:
    latency = report["preemption_latency_ms"]
    most = report["preemptions_per_request_max"]
    return tiles(
        [
            (_ratio(report["ttft_inflation"]), f"TTFT over alone (without a gate {_naive(report, 'ttft')})"),
            (_ratio(report["tpot_inflation"]), f"TPOT over alone (without a gate {_naive(report, 'tpot')})"),
            (
                whole_percent(report["arms"][VALVE]["harvested_fraction"]),
                "of the offline throughput harvested",
            ),
            ("-" if most is None else str(most), "preemptions of a request at most"),
            (f"{number(latency['p50'])} ms", "preemption latency, median"),
        ]
    )


def _ratio(told: dict[str, Any]) -> str:
    return f"x {number(told['p50'])}"


def _naive(report: dict[str, Any], figure: str) -> str:
    return _ratio(report[f"{figure}_inflation_no_gate"])


def _arms(report: dict[str, Any]) -> str:
    head = ("arm", "TTFT p50, ms", "p90", "TPOT p50, ms", "p90", "requests", "offline tok/s", "harvested")
    rows = [_arm_row(arm, figures) for arm, figures in report["arms"].items()]
    return table(head, rows, chosen=list(report["arms"]).index(VALVE))


def _arm_row(arm: str, figures: dict[str, Any]) -> list[str]:
    ttft, tpot = figures["ttft_ms"] or {}, figures["tpot_ms"] or {}
    return [
        name(arm),
        number(ttft.get("p50"), 0),
        number(ttft.get("p90"), 0),
        number(tpot.get("p50"), 1),
        number(tpot.get("p90"), 1),
        str(figures["requests"] or "-"),
        number(figures["offline_tokens_per_s"] or None, 1),
        whole_percent(figures["harvested_fraction"] or None),
    ]


def _budget(told: dict[str, Any], arms: dict[str, Any]) -> Iterable[str]:
    slo = f"within {told['slo_tpot_ms']:g} ms a token"
    rows = [
        (name(arm), tenths(told["attainment"][arm]), whole_percent(arms[arm]["harvested_fraction"] or None))
        for arm in told["attainment"]
    ]
    yield table(("arm", slo, "harvested"), rows)
    yield paragraph(
        f"Under budget: TTFT {_ratio(told['ttft_inflation'])} and TPOT {_ratio(told['tpot_inflation'])} of "
        f"alone, {number(told['slices_per_s'], 1)} slices/s; a tenant was halted "
        f"{number(told['stop_latency_ms']['p50'])} ms after a slice was over (median)."
    )


def colour_of(report: dict[str, Any], arm: str) -> int:
    """The same colour for an arm in every chart."""
    rivals = [each for each in report["arms"] if each not in COLOURS]
    return COLOURS[arm] if arm in COLOURS else RIVAL_COLOURS[rivals.index(arm) % len(RIVAL_COLOURS)]


def distribution(report: dict[str, Any], figure: str, label: str) -> str:
    """The cumulative distribution of a figure, a line an arm; logarithmic, cut at the 99.5th percentile."""
    samples = {arm: sorted(figures["samples"][figure]) for arm, figures in report["arms"].items()}
    samples = {arm: values for arm, values in samples.items() if values}
    if not samples:
        return paragraph("No request was answered.")
    low = min(values[0] for values in samples.values())
    high = max(stats.percentile(values, 0.995) for values in samples.values())
    axis = Axis(max(low, 1e-3), max(high, low * 1.01), label, log=True)
    chart = Chart(
        f"Distribution of {label} by arm", axis, Axis(0, 1, "requests below", write=percent), NARROW
    )
    for arm, values in samples.items():
        chart.line(_cumulative(values, high), colour_of(report, arm), name(arm))
    return chart.svg()


def _cumulative(values: Sequence[float], high: float) -> list[Point]:
    """Steps of the empirical distribution, up to `high`."""
    count = len(values)
    corners = ((value, (i + side) / count) for i, value in enumerate(values) for side in (0, 1))
    return [corner for corner in corners if corner[0] <= high]


def _timelines(report: dict[str, Any]) -> Iterable[str]:
    """The round with the median number of requests, with Valve and without a gate."""
    valve = sorted((each for each in report["timelines"] if each["arm"] == VALVE), key=_steps)
    if not valve:
        return
    chosen = valve[len(valve) // 2]["round"]
    for arm in (VALVE, BUDGET, NO_GATE):
        for each in report["timelines"]:
            if each["arm"] == arm and each["round"] == chosen:
                title = name(arm)
                yield paragraph(f"{title[0].upper()}{title[1:]}, round {chosen + 1}")
                yield _in_flight(each)
                yield _offline(each, colour_of(report, arm))


def _steps(timeline: dict[str, Any]) -> int:
    return len(timeline["in_flight"])


def _in_flight(timeline: dict[str, Any]) -> str:
    steps = [*timeline["in_flight"], [timeline["span_s"], 0]]
    high = max(count for _, count in steps) + 0.3
    chart = Chart("Online requests in flight", _seconds(timeline, ""), Axis(0, high, "in flight"), 1060, 130)
    _shade_closed(chart, timeline, high)
    corners = [
        corner
        for (at_s, count), (until_s, _) in itertools.pairwise(steps)
        for corner in ((at_s, count), (until_s, count))
    ]
    chart.area(corners, COLOURS[ONLINE_ALONE], "online requests in flight", 0.55)
    return chart.svg()


def _offline(timeline: dict[str, Any], colour: int) -> str:
    rates = [tokens / timeline["bin_s"] for tokens in timeline["offline_tokens"]]
    high = max(rates, default=0.0) * 1.1 or 1.0
    chart = Chart("Offline progress", _seconds(timeline, "s"), Axis(0, high, "tokens/s"), 1060, 150)
    _shade_closed(chart, timeline, high)
    edges = [min(i * timeline["bin_s"], timeline["span_s"]) for i in range(len(rates) + 1)]
    chart.histogram(edges, rates, colour, "offline tokens/s")
    return chart.svg()


def _seconds(timeline: dict[str, Any], label: str) -> Axis:
    return Axis(0, timeline["span_s"], label)


def _shade_closed(chart: Chart, timeline: dict[str, Any], high: float) -> None:
    for begin_s, end_s in timeline["gate_closed"]:
        chart.bar(begin_s, end_s, high, 6, "gate closed", opacity=SHADE)


def _latency(report: dict[str, Any]) -> Iterable[str]:
    values = sorted(each["latency_ms"] for each in report["preempting_requests"] if each["latency_ms"])
    if not values:
        yield paragraph("No preemption was measured.")
        return
    axis = Axis(min(values) * 0.9, max(*values, 1.0) * 1.1, "request readable to all stopped, ms", log=True)
    chart = Chart("Preemption latency", axis, Axis(0, 1, "preemptions below", write=percent), NARROW)
    chart.line(_cumulative(values, values[-1]), COLOURS[VALVE])
    chart.rule("goal 1 ms", x=1.0)
    yield chart.svg()
    yield paragraph(f"{len(values)} preemptions, the slowest {values[-1]:.2f} ms.", "soft")


def _cost(report: dict[str, Any]) -> Iterable[str]:
    head = ("requests", "TTFT over alone", "95 % interval")
    roles = {
        "preempting": "that closed the gate",
        "riding": "that found it closed",
    }
    told = [(roles[role], each) for role, each in report["ttft_inflation_by_role"].items()]
    told.append(("all", report["ttft_inflation"]))
    yield table(head, [(role, _ratio(each), _interval(each["ci95"])) for role, each in told])
    pairs = [
        each["ttft_ms"] - each["ttft_alone_ms"]
        for each in report["preempting_requests"]
        if each["ttft_ms"] is not None and each["ttft_alone_ms"] is not None
    ]
    if pairs:
        low, middle, high = (stats.percentile(pairs, q) for q in (0.1, 0.5, 0.9))
        yield paragraph(
            f"A preempting request's TTFT less that of the same request alone: median {middle:+.1f} ms, "
            f"from {low:+.1f} (10 %) to {high:+.1f} ms (90 %), n={len(pairs)}.",
            "soft",
        )


def _interval(ci95: Sequence[float] | None) -> str:
    return f"{ci95[0]:.2f} to {ci95[1]:.2f}" if ci95 else "-"


def _gaps(report: dict[str, Any]) -> str:
    """Of the drained time, the part in gaps longer than the abscissa."""
    gaps = report["harvest"]["gaps_ms"]
    if not gaps:
        return paragraph("The online engine was never idle.")
    total, left, points = sum(gaps), sum(gaps), []
    for gap in gaps:
        points += [(max(gap, 1.0), left / total)]
        left -= gap
        points += [(max(gap, 1.0), max(left, 0.0) / total)]
    chart = Chart(
        "Drained time by length of gap",
        Axis(1, max(gaps) * 1.1 + 1, "gap, ms", log=True),
        Axis(0, 1, "drained time in longer gaps", write=percent),
        NARROW,
    )
    chart.area([(1.0, 1.0), *points], COLOURS[ONLINE_ALONE], "online alone")
    _mark_cooldown(chart, report)
    return chart.svg()


def _sweep(report: dict[str, Any]) -> str:
    told = [each for each in report["harvest"]["cooldown_sweep"] if each["harvested_fraction"] is not None]
    shifted = [(max(each["cooldown_ms"], 5.0), each) for each in told]
    chart = Chart(
        "Predicted harvest by cool-down",
        Axis(5, 5000, "cool-down, ms (left end: none)", log=True),
        Axis(0, 1, "", write=percent),
        NARROW,
    )
    harvested = [(x, each["harvested_fraction"]) for x, each in shifted]
    preempted = [(x, each["preemptions_per_request"] or 0.0) for x, each in shifted]
    chart.line(harvested, COLOURS[VALVE], "harvested, predicted", dots=True)
    chart.line(preempted, COLOURS[NO_GATE], "preemptions per request", dots=True)
    _mark_cooldown(chart, report)
    return chart.svg()


def _mark_cooldown(chart: Chart, report: dict[str, Any]) -> None:
    cooldown_ms = report["harvest"]["cooldown_ms"]
    if cooldown_ms:
        chart.rule(f"this run {cooldown_ms:.0f} ms", x=cooldown_ms)


def _over_time(report: dict[str, Any]) -> str:
    rounds = report["harvest"]["over_time"]
    names = [str(each["round"] + 1) for each in rounds]
    axis = Axis(-0.6, len(rounds) - 0.4, "round")
    chart = Chart("Harvest by round", axis, Axis(0, 1, "harvested", write=percent), 1060, 220, names=names)
    for index, each in enumerate(rounds):
        chart.bar(index - 0.3, index + 0.3, each["measured"] or 0.0, COLOURS[VALVE], "measured with Valve")
    predicted = [(float(i), each["predicted"] or 0.0) for i, each in enumerate(rounds)]
    chart.line(predicted, COLOURS[ONLINE_ALONE], "predicted from the gaps of online alone", dots=True)
    return chart.svg()


def _circumstances(report: dict[str, Any]) -> Iterable[str]:
    machine = report["machine"]
    host = f"{machine['cpu']}, {machine['cores']} cores, Linux {machine['kernel']}"
    yield paragraph(report["statement"])
    yield paragraph(f"{host}; {report['placement']}.")
    missing = [f"{key}: {why}" for key, why in report["baselines_available"].items() if why]
    if missing:
        yield paragraph(f"Baselines not available here: {'; '.join(missing)}.", "soft")
    for process, command in report["commands"].items():
        yield paragraph(f"{process}: {command}", "soft")
