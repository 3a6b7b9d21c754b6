"""Owns the plan's JSON and its printed form."""

from dataclasses import asdict
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from valve_loadgen.plan import memory_plan
from valve_loadgen.plan.advice import advice
from valve_loadgen.plan.fleet import Plan
from valve_loadgen.plan.harvest import Harvest
from valve_loadgen.plan.routing import OBSERVED, OBSERVED_TITLE, ROUTINGS
from valve_loadgen.table import PLAIN_WIDTH, number

HEADINGS = (
    "routing",
    "GPUs\nsaved",
    "95 %",
    "harvested",
    "drained",
    "in\nflight",
    "preemptions\nper request",
    "TTFT ms\np50 / p99",
    "TPOT\nms",
)


COMPARED = (
    "load",
    "drain\nharvests",
    "budget\nharvests",
    "within SLO\nalone / budget",
    "TTFT ms p50\nalone / budget",
    "slices/s",
)


def as_json(plan: Plan) -> dict[str, Any]:
    """The document of `valve plan --json` (docs/plan.md)."""
    head = plan.headline
    return {
        "gpus_saved": plan.saved(head.harvest_fraction),
        "formula": plan.formula,
        "harvest_fraction": head.harvest_fraction,
        "preemptions_per_request": head.preemptions_per_request,
        "routing": {name: _routing(plan, each) for name, each in plan.harvests.items()},
        "interval": _interval(plan, head),
        "policies": _policies(plan),
        "memory": plan.memory and plan.memory.as_json(),
        "advice": " ".join([*advice(plan), *plan.notes]),
    }


def _interval(plan: Plan, harvest: Harvest) -> list[float] | None:
    """Of gpus_saved, 95 %."""
    ends = harvest.harvest.ci95
    return None if ends is None else [plan.saved(end) for end in ends]


def _routing(plan: Plan, harvest: Harvest) -> dict[str, Any]:
    latency = harvest.latency
    return {
        "gpus_saved": plan.saved(harvest.harvest_fraction),
        "interval": _interval(plan, harvest),
        "harvest_fraction": harvest.harvest_fraction,
        "harvest_fraction_ci95": harvest.harvest.ci95,
        "drained_fraction": harvest.drained_fraction,
        "drained_by_chance": harvest.by_chance,
        "in_flight_per_replica": harvest.in_flight,
        "requests": harvest.requests,
        "preemptions": harvest.preemptions,
        "preemptions_per_request": harvest.preemptions_per_request,
        "unused_replicas": harvest.unused if harvest.outcome.served else None,
        "ttft_ms": latency and {"p50": latency.ttft_p50_ms, "p99": latency.ttft_p99_ms},
        "tpot_ms": latency and latency.tpot_ms,
        "cooldown": [
            {
                "cooldown_ms": swept.cooldown_s * 1e3,
                "harvest_fraction": swept.harvest_fraction,
                "preemptions": swept.preemptions,
            }
            for swept in harvest.sweep
        ],
    }


def show(plan: Plan) -> None:
    console = Console()
    if not console.is_terminal:
        console = Console(width=PLAIN_WIDTH)
    console.print(render(plan))


def render(plan: Plan) -> RenderableType:
    """Everything a person wants to see of `plan`."""
    told = Text("\n".join(advice(plan)))
    told.stylize("bold", 0, told.plain.find("\n"))
    rest = [Text(plan.formula, style="dim"), *(Text(note, style="dim") for note in plan.notes)]
    tables = [_routings(plan), _sweep(plan), *_memory(plan), *([_comparison(plan)] if plan.policies else [])]
    return Group(Text(circumstances(plan), style="dim"), *tables, told, *rest)


def circumstances(plan: Plan) -> str:
    """One sentence: what was planned for what."""
    fleet = f"{_many(plan.options.replicas, 'replica')}; cool-down {plan.options.cooldown_s * 1e3:g} ms"
    if plan.load is None:
        return f"{_sources(plan)} in {duration(plan.span_s)}, for {fleet}; no engine is simulated"
    return (
        f"{plan.headline.requests:,} requests of {_many(len(plan.deployments), 'deployment')} in "
        f"{duration(plan.span_s)}, mean load {plan.load:.1%} of {fleet}; engine: {plan.options.engine}"
    )


def _sources(plan: Plan) -> str:
    requests = plan.headline.requests
    if requests is not None:
        return f"{requests:,} logged requests"
    return f"What monitoring saw of {_many(len(plan.deployments), 'replica')}"


def _many(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def duration(span_s: float) -> str:
    for size, name in ((86_400.0, "days"), (3600.0, "hours"), (60.0, "minutes")):
        if span_s >= 2 * size:
            return f"{span_s / size:.3g} {name}"
    return f"{span_s:.3g} s"


def title(name: str) -> str:
    return OBSERVED_TITLE if name == OBSERVED else ROUTINGS[name].title


def _routings(plan: Plan) -> Table:
    table = Table(title=f"What colocation would save on {plan.gpus} GPUs")
    for index, heading in enumerate(HEADINGS):
        table.add_column(heading, justify="right" if index else "left")
    for name, harvest in plan.harvests.items():
        table.add_row(title(name), *row(plan, harvest), style="bold" if name == plan.chosen else None)
    return table


def row(plan: Plan, harvest: Harvest) -> list[str]:
    """The table's cells after the routing's name."""
    ends, latency = _interval(plan, harvest), harvest.latency
    return [
        f"{plan.saved(harvest.harvest_fraction):.1f}",
        "-" if ends is None else f"{ends[0]:.1f} to {ends[1]:.1f}",
        f"{harvest.harvest_fraction:.1%}",
        f"{harvest.drained_fraction:.1%}",
        f"{harvest.in_flight:.2f}",
        number(harvest.preemptions_per_request, 3),
        "-" if not latency else f"{latency.ttft_p50_ms:.0f} / {number(latency.ttft_p99_ms, 0)}",
        number(latency.tpot_ms if latency else None, 1),
    ]


def _policies(plan: Plan) -> dict[str, Any] | None:
    if plan.policies is None:
        return None
    points = {name: [asdict(point) for point in each] for name, each in plan.policies.by_routing.items()}
    return {"slo_tpot_ms": plan.policies.slo_ms, "routing": points}


def _comparison(plan: Plan) -> Table:
    """Drain against budget over load, under the chosen routing."""
    assert plan.policies is not None
    table = Table(title=f"Drain against budget, TPOT SLO {plan.policies.slo_ms:g} ms, {title(plan.chosen)}")
    for index, heading in enumerate(COMPARED):
        table.add_column(heading, justify="right" if index else "left")
    for point in plan.policies.by_routing[plan.chosen]:
        table.add_row(
            f"{point.load:.0%}",
            f"{point.drain:.1%}",
            f"{point.budget:.1%}",
            "-" if point.met is None else f"{point.met_alone:.1%} / {point.met:.1%}",
            f"{point.ttft_alone_ms:.0f} / {point.ttft_ms:.0f}",
            f"{point.slices_per_s:.1f}",
        )
    return table


def _sweep(plan: Plan) -> Table:
    """Harvested fraction by cool-down."""
    table = Table(title="Harvested by cool-down")
    table.add_column("cool-down ms", justify="left")
    for swept in plan.headline.sweep:
        table.add_column(f"{swept.cooldown_s * 1e3:g}", justify="right")
    for name, harvest in plan.harvests.items():
        table.add_row(title(name), *(f"{swept.harvest_fraction:.1%}" for swept in harvest.sweep))
    return table


def _memory(plan: Plan) -> list[RenderableType]:
    if plan.memory is None:
        return []
    table = Table(title="What offline work could hold of the KV memory")
    for index, heading in enumerate(memory_plan.HEADINGS):
        table.add_column(heading, justify="right" if index else "left")
    for cells in plan.memory.rows():
        table.add_row(*cells)
    return [table, Text(plan.memory.sentence, style="dim")]
