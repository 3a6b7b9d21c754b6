"""Owns drain against budget: what each harvests at every load, and whether online keeps its SLO.

Pure but for C. A part of the traffic on a part of the fleet has to do: iterations are simulated one by one.
"""

from dataclasses import dataclass
from operator import sub

from valve_loadgen import stats
from valve_loadgen.plan import kernel
from valve_loadgen.plan.engine import Engine
from valve_loadgen.plan.kernel import Budget, Fleet, Outcome
from valve_loadgen.plan.requests import Requests
from valve_loadgen.plan.routing import ROUTINGS

LOADS = (0.05, 0.1, 0.2, 0.3, 0.4, 0.6, 0.8)
REQUESTS, REPLICAS = 4_000, 8
STOP_S = 0.0005
ROUNDING_MS = 1e-6
SLO_STEPS = 6.25  # 50 ms for the 8 ms of the preset


@dataclass(frozen=True)
class Point:
    """Both policies at one load. Fractions of replica time, and of requests with more than one token."""

    load: float
    drain: float
    budget: float
    met_alone: float | None
    met: float | None
    ttft_alone_ms: float
    ttft_ms: float
    slices_per_s: float
    """By replica."""


@dataclass(frozen=True)
class Terms:
    """What both policies are given."""

    cooldown_s: float
    pack_limit: int
    slo_ms: float


@dataclass(frozen=True)
class Comparison:
    slo_ms: float
    by_routing: dict[str, list[Point]]


def slo_ms_of(engine: Engine) -> float:
    """Where the user names none."""
    return round(SLO_STEPS * engine.step_ms, 1)


def compare(requests: Requests, engine: Engine, replicas: int, terms: Terms, seed: int) -> Comparison:
    """Every routing at every load of LOADS. Raises BenchError."""
    found: dict[str, list[Point]] = {name: [] for name in ROUTINGS}
    part = min(replicas, max(REPLICAS, len(requests.deployments)))
    whole = sum(requests.loads(engine))
    for load in LOADS:
        scaled = at_load(requests, load * part / whole, seed)
        if not len(scaled):
            continue
        loads = scaled.loads(engine)
        for name, routing in ROUTINGS.items():
            fleet = routing.build(loads, part, terms.pack_limit)
            found[name].append(_point(load, scaled, engine, fleet, terms))
    return Comparison(terms.slo_ms, found)


def at_load(requests: Requests, factor: float, seed: int) -> Requests:
    """`factor` times as many a second: thinned, or compressed above 1. About REQUESTS at most, the first."""
    wanted = int(REQUESTS / min(factor, 1.0))
    first = requests.until(requests.at_s[wanted]) if len(requests) > wanted else requests
    return first.thinned(factor, seed) if factor <= 1 else first.stretched(1 / factor)


def _point(load: float, requests: Requests, engine: Engine, fleet: Fleet, terms: Terms) -> Point:
    alone = kernel.simulate(engine, requests, fleet)
    sliced = kernel.simulate(engine, requests, fleet, Budget(terms.slo_ms / 1e3, STOP_S))
    replica_s = requests.span_s * fleet.replicas
    return Point(
        load,
        _drained_s(alone, requests, terms.cooldown_s) / replica_s,
        (_drained_s(sliced, requests, terms.cooldown_s) + sliced.slice_s) / replica_s,
        _met(alone, requests, terms.slo_ms),
        _met(sliced, requests, terms.slo_ms),
        _ttft_ms(alone, requests),
        _ttft_ms(sliced, requests),
        sliced.slices / replica_s,
    )


def _drained_s(outcome: Outcome, requests: Requests, cooldown_s: float) -> float:
    return sum(kernel.harvest(outcome, requests.span_s, cooldown_s, requests.span_s).open_s)


def _met(outcome: Outcome, requests: Requests, slo_ms: float) -> float | None:
    spans = zip(outcome.first_s, outcome.done_s, requests.outputs, strict=True)
    left_ms = [
        slo_ms * (tokens - 1) - (done_s - first_s) * 1e3 for first_s, done_s, tokens in spans if tokens > 1
    ]
    return stats.mean([left >= -ROUNDING_MS for left in left_ms])


def _ttft_ms(outcome: Outcome, requests: Requests) -> float:
    return stats.percentile(sorted(map(sub, outcome.first_s, requests.at_s)), 0.5) * 1e3
