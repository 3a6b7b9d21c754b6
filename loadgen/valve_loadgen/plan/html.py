"""Owns the plan's HTML report (pure)."""

from html import escape

from valve_loadgen.page import page, paragraph, section, side_by_side, table, tiles
from valve_loadgen.plan import memory_plan, report
from valve_loadgen.plan.advice import advice
from valve_loadgen.plan.fleet import Plan
from valve_loadgen.plan.harvest import GAP_EDGES_S, Harvest
from valve_loadgen.plan.policies import LOADS, Comparison
from valve_loadgen.plan.routing import BALANCED, DEDICATED, LEAST_LOADED, OBSERVED, PACK_FIRST
from valve_loadgen.svg import Axis, Chart, percent

COLOURS = {BALANCED: 0, LEAST_LOADED: 5, DEDICATED: 2, PACK_FIRST: 1, OBSERVED: 3}
SHORT = {
    BALANCED: "balanced",
    LEAST_LOADED: "least loaded",
    DEDICATED: "dedicated",
    PACK_FIRST: "pack first",
    OBSERVED: "observed",
}
POLICIES = (
    "Drain opens the gate only while nothing is in flight; budget opens it besides in slices while requests "
    "decode, as long as each keeps the TPOT SLO. In a slice the online engine is taken to stand still, and "
    "offline work to run at full speed. The table says drain / budget for every routing, by load, to which "
    "up to 4,000 requests of this traffic are scaled, on at most 8 replicas or one for each deployment."
)
PAPER = (
    "The paper's own figures do not share one formula: 2170 GPUs saved of 8054 are 26.9 %, while a "
    "utilisation 34.6 % higher means 8054 x (1 - 1/1.346) = 2070 fewer GPUs for the same work. Hence every "
    "figure here comes with its formula."
)
LIMITS = (
    "Not in this simulation: KV cache limits, autoscaling, network time, a slowdown of the online engine by "
    "its neighbour, time lost at each preemption (about a millisecond). The interval says how much the "
    "figure varies between pieces of the observed time, not how far the engine figures may be off; "
    "calibrate them with valve plan --calibrate."
)


def html(plan: Plan, command: str) -> str:
    """One self-contained document; `command` reproduces it."""
    told = advice(plan)
    body = [
        _tiles(plan),
        section(told[0], *map(paragraph, told[1:]), kind="advice"),
        side_by_side(
            section("Harvested by routing", _by_routing(plan)),
            section("Harvested by cool-down", _by_cooldown(plan)),
        ),
        *([section("Drain or budget?", *_policies(plan.policies, plan.chosen))] if plan.policies else []),
        section("The same traffic under every routing", _table(plan)),
        section("Harvested over time", _over_time(plan)),
        *_memory(plan),
        side_by_side(
            section("Where the drained time lies", _gaps(plan)),
            section("Which replicas drain", _replicas(plan)),
        ),
        section(
            "How this is computed", *map(paragraph, (plan.formula, PAPER, LIMITS, *plan.notes)), _pre(command)
        ),
    ]
    return page("Colocation plan", report.circumstances(plan), body)


def _pre(text: str) -> str:
    return f"<pre>{escape(text)}</pre>"


def _tiles(plan: Plan) -> str:
    head = plan.headline
    ends = head.harvest.ci95
    spread = "" if ends is None else f", 95 %: {plan.saved(ends[0]):.1f} to {plan.saved(ends[1]):.1f}"
    rate = head.preemptions_per_request
    return tiles(
        [
            (f"{plan.saved(head.harvest_fraction):.1f}", f"of {plan.gpus} GPUs saved{spread}"),
            (f"{head.harvest_fraction:.1%}", f"of GPU time harvested ({SHORT[plan.chosen]})"),
            (f"{head.drained_fraction:.1%}", "drained: nothing in flight"),
            ("-" if rate is None else f"{rate:.2f}", "preemptions per request"),
        ]
    )


def _by_routing(plan: Plan) -> str:
    told = _telling(plan)
    highest = max((each.harvest.high or each.harvest_fraction) for each in told.values())
    chart = Chart(
        "Harvested fraction by routing",
        Axis(-0.5, len(told) - 0.5, "routing (outlined: yours)"),
        Axis(0, max(highest * 1.15, 0.05), "harvested", write=percent),
        names=[SHORT[name] for name in told],
    )
    for place, (name, each) in enumerate(told.items()):
        chart.bar(
            place - 0.3, place + 0.3, each.harvest_fraction, COLOURS[name], outlined=name == plan.chosen
        )
        high = each.harvest.high or each.harvest_fraction
        if each.harvest.low is not None:
            chart.whisker(place, each.harvest.low, high)
        chart.text(place, max(high, each.harvest_fraction), f"{each.harvest_fraction:.1%}")
    return chart.svg()


def _by_cooldown(plan: Plan) -> str:
    sweep = [swept for swept in plan.headline.sweep]
    highest = max(swept.harvest_fraction for each in plan.harvests.values() for swept in each.sweep)
    chart = Chart(
        "Harvested fraction by cool-down",
        Axis(-0.3, len(sweep) - 0.7, "cool-down, ms"),
        Axis(0, max(highest * 1.1, 0.05), "harvested", write=percent),
        names=[f"{swept.cooldown_s * 1e3:g}" for swept in sweep],
    )
    for name, each in _telling(plan).items():
        points = [(float(place), swept.harvest_fraction) for place, swept in enumerate(each.sweep)]
        chart.line(points, COLOURS[name], SHORT[name], dots=True)
    chosen = next(i for i, swept in enumerate(sweep) if swept.cooldown_s == plan.options.cooldown_s)
    chart.rule("this plan", x=float(chosen))
    return chart.svg()


def _policies(compared: Comparison, chosen: str) -> list[str]:
    """One plot that makes the choice obvious: what each policy harvests, and who keeps the SLO."""
    points = compared.by_routing[chosen]
    chart = Chart(
        f"Harvested by load under both policies, {SHORT[chosen]}",
        Axis(0, LOADS[-1] + 0.05, "load, of the fleet's capacity", write=percent),
        Axis(0, 1.08, "", write=percent),
        width=1040,
        height=300,
    )
    for colour, label, values in (
        (1, f"harvested by budget, TPOT SLO {compared.slo_ms:g} ms", [(p.load, p.budget) for p in points]),
        (0, "harvested by drain", [(p.load, p.drain) for p in points]),
    ):
        chart.area(values, colour, opacity=0.2)
        chart.line(values, colour, label, dots=True)
    chart.line([(p.load, p.met or 0.0) for p in points], 2, "requests within the SLO under budget", dots=True)
    for point in points:
        chart.text(point.load, point.budget, f"{point.budget:.0%}")
    return [chart.svg(), paragraph(POLICIES, "soft"), _policy_table(compared)]


def _policy_table(compared: Comparison) -> str:
    """Every routing: drain / budget."""
    head = ["routing", *(f"{load:.0%}" for load in LOADS)]
    rows = [
        [SHORT[name], *(f"{p.drain:.0%} / {p.budget:.0%}" for p in points)]
        for name, points in compared.by_routing.items()
    ]
    return table(head, rows)


def _table(plan: Plan) -> str:
    head = [" ".join(heading.split("\n")) for heading in report.HEADINGS]
    rows = [[report.title(name), *report.row(plan, each)] for name, each in plan.harvests.items()]
    return table(head, rows, chosen=list(plan.harvests).index(plan.chosen))


def _memory(plan: Plan) -> list[str]:
    if plan.memory is None:
        return []
    head = [" ".join(heading.split("\n")) for heading in memory_plan.HEADINGS]
    told = paragraph(plan.memory.sentence)
    return [section("What offline work could hold of the KV memory", table(head, plan.memory.rows()), told)]


def _over_time(plan: Plan) -> str:
    unit_s, unit = _time_unit(plan.span_s)
    chart = Chart(
        "Harvested fraction over time",
        Axis(0, plan.span_s / unit_s, f"{unit} since the start"),
        Axis(0, 1, "harvested", write=percent),
        width=1040,
        height=250,
    )
    told = _telling(plan)
    for name in [name for name in dict.fromkeys((plan.chosen, PACK_FIRST, DEDICATED)) if name in told]:
        points = [(at_s / unit_s, share) for at_s, share in plan.harvests[name].timeline]
        if name == plan.chosen:
            chart.area(points, COLOURS[name], opacity=0.2)
        chart.line(points, COLOURS[name], SHORT[name])
    return chart.svg()


def _telling(plan: Plan) -> dict[str, Harvest]:
    """The harvests worth a mark: with one deployment, dedicated is the same as balanced."""
    same = len(plan.deployments) < 2 and plan.chosen != DEDICATED
    return {name: each for name, each in plan.harvests.items() if name != DEDICATED or not same}


def _time_unit(span_s: float) -> tuple[float, str]:
    units = ((86_400.0, "days"), (3600.0, "hours"), (60.0, "minutes"))
    return next(((size, name) for size, name in units if span_s >= 3 * size), (1.0, "seconds"))


def _gaps(plan: Plan) -> str:
    shares = plan.headline.gap_share
    used = [place for place, share in enumerate(shares) if share > 0.002] or [0]
    last = min(used[-1] + 2, len(GAP_EDGES_S) - 1)
    chart = Chart(
        "Drained time by length of the gap",
        Axis(GAP_EDGES_S[0], GAP_EDGES_S[last], "length of the idle gap, s", log=True),
        Axis(0, max(*shares, 0.05) * 1.15, "of the drained time", write=percent),
    )
    chart.histogram(GAP_EDGES_S[: last + 1], shares[:last], COLOURS[plan.chosen], SHORT[plan.chosen])
    chart.rule("cool-down", x=plan.options.cooldown_s)
    return chart.svg()


def _replicas(plan: Plan) -> str:
    most = max(each.replicas for each in plan.harvests.values())
    chart = Chart(
        "Drained fraction by replica, most drained first",
        Axis(0, most, "replicas, most drained first"),
        Axis(0, 1, "drained", write=percent),
    )
    for name, each in _telling(plan).items():
        chart.line(_steps(each), COLOURS[name], SHORT[name])
    return chart.svg()


def _steps(harvest: Harvest) -> list[tuple[float, float]]:
    """Each replica's share over its unit of the axis."""
    shares = sorted(harvest.replica_share, reverse=True)
    return [point for rank, share in enumerate(shares) for point in ((rank, share), (rank + 1, share))]
