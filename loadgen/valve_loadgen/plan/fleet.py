"""Owns the plan: the same traffic under every routing, and what colocation would save (pure but for C)."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from operator import sub

from valve_loadgen import stats
from valve_loadgen.errors import BenchError
from valve_loadgen.plan import harvest, kernel
from valve_loadgen.plan.engine import Engine
from valve_loadgen.plan.harvest import Harvest, Latency, Scope
from valve_loadgen.plan.inputs import Traffic
from valve_loadgen.plan.kernel import Outcome
from valve_loadgen.plan.memory import MakePolicy
from valve_loadgen.plan.memory_plan import MemoryPlan, memory_plan
from valve_loadgen.plan.observed import Observed
from valve_loadgen.plan.policies import Comparison, Terms, compare, slo_ms_of
from valve_loadgen.plan.requests import Requests
from valve_loadgen.plan.routing import BALANCED, DEDICATED, OBSERVED, ROUTINGS


@dataclass(frozen=True)
class Options:
    """What is asked for beside the traffic."""

    replicas: int
    engine: Engine
    cooldown_s: float
    pack_limit: int
    gpus_per_replica: int = 1
    load: float | None = None
    """Scale the traffic to this mean load by replica; None: as it is."""
    routing: str | None = None
    offline_speed: float = 1.0
    """The offline engine's speed while the gate is open, over its speed alone."""
    seed: int = 1
    slo_tpot_ms: float | None = None
    """What the budget policy may spend; None: SLO_STEPS steps of the engine."""


@dataclass(frozen=True)
class Plan:
    """Everything that the reports show."""

    options: Options
    harvests: dict[str, Harvest]
    chosen: str
    """The routing as it is: OBSERVED, or what the user says, or what the traffic suggests."""
    deployments: Sequence[str]
    span_s: float
    load: float | None
    """Mean load by replica, 1 = always full; None without token counts."""
    packed_fraction: float | None = None
    notes: list[str] = field(default_factory=list)
    memory: MemoryPlan | None = None
    """Of the chosen routing; None without token counts."""
    policies: Comparison | None = None
    """Drain against budget; None where no engine was simulated."""

    @property
    def headline(self) -> Harvest:
        return self.harvests[self.chosen]

    @property
    def gpus(self) -> int:
        return self.options.replicas * self.options.gpus_per_replica

    def saved(self, fraction: float) -> float:
        """GPUs that the offline work would need elsewhere: `formula`."""
        return self.gpus * fraction

    @property
    def formula(self) -> str:
        speed = self.options.offline_speed
        pace = "" if speed == 1.0 else f" x {speed:.3f} (offline speed while open, over alone)"
        return (
            f"gpus_saved = replicas x gpus_per_replica x harvest_fraction = {self.options.replicas} x "
            f"{self.options.gpus_per_replica} x {self.headline.harvest_fraction:.4f} = "
            f"{self.saved(self.headline.harvest_fraction):.1f}; harvest_fraction = time the gate is open / "
            f"observed time, over all replicas{pace}; the gate is open from "
            f"{self.options.cooldown_s * 1e3:g} ms after a replica drained until its next request"
        )


def plan(traffic: Traffic, options: Options, policy: MakePolicy | None = None) -> Plan:
    """Simulates every routing; takes what monitoring saw as it is. `policy`: Valve's for memory, if it is
    known. Raises BenchError.
    """
    if options.load is not None and (traffic.engine or traffic.requests is None):
        raise BenchError("--load needs token counts, which monitoring does not tell; leave it out")
    harvests: dict[str, Harvest] = {}
    if traffic.observed:
        harvests[OBSERVED] = _as_observed(traffic.observed, options)
    requests, load = None, None
    if traffic.requests is not None:
        engine = traffic.engine or options.engine
        requests = _scaled(traffic.requests, engine, options)
        loads = requests.loads(engine)
        harvests |= _simulated(requests, engine, options, loads)
        load = None if traffic.engine else sum(loads) / options.replicas
    known, chosen = traffic.observed, _chosen(options.routing, harvests, requests)
    memory = None
    if requests is not None and traffic.engine is None:
        memory = memory_plan(requests, harvests[chosen].outcome, options.engine, policy)
    return Plan(
        options,
        harvests,
        chosen,
        requests.deployments if requests else known.names if known else (),
        requests.span_s if requests else known.span_s if known else 0.0,
        load,
        known.packed_fraction if known else None,
        traffic.notes,
        memory,
        _policies(traffic, options),
    )


def _policies(traffic: Traffic, options: Options) -> Comparison | None:
    """Over the traffic as it came, whatever the load asked for."""
    if traffic.requests is None or traffic.engine or not len(traffic.requests):
        return None
    engine = options.engine
    terms = Terms(options.cooldown_s, options.pack_limit, options.slo_tpot_ms or slo_ms_of(engine))
    return compare(traffic.requests, engine, options.replicas, terms, options.seed)


def _scaled(requests: Requests, engine: Engine, options: Options) -> Requests:
    """Thinned or compressed to the load asked for. Raises BenchError if nothing is left."""
    if options.load is not None and len(requests):
        factor = options.load * options.replicas / sum(requests.loads(engine))
        thin = factor <= 1
        requests = requests.thinned(factor, options.seed) if thin else requests.stretched(1 / factor)
    if not len(requests):
        raise BenchError("no request is left to plan for; take more with --keep, --hours or --load")
    return requests


def _chosen(asked: str | None, harvests: dict[str, Harvest], requests: Requests | None) -> str:
    if asked is not None:
        if asked not in harvests:
            raise BenchError(f"routing {asked!r} is not known for this input; use {' or '.join(harvests)}")
        return asked
    if OBSERVED in harvests:
        return OBSERVED
    return DEDICATED if requests is not None and len(requests.deployments) > 1 else BALANCED


def _as_observed(observed: Observed, options: Options) -> Harvest:
    scope = Scope(
        len(observed.names), observed.span_s, observed.replica_s, options.cooldown_s, options.offline_speed
    )
    in_flight = observed.in_flight_s / observed.replica_s
    return harvest.measure(observed.gaps, scope, observed.requests, in_flight)


def _simulated(
    requests: Requests, engine: Engine, options: Options, loads: Sequence[float]
) -> dict[str, Harvest]:
    return {
        name: _harvest(requests, engine, options, routing.build(loads, options.replicas, options.pack_limit))
        for name, routing in ROUTINGS.items()
    }


def _harvest(requests: Requests, engine: Engine, options: Options, fleet: kernel.Fleet) -> Harvest:
    outcome = kernel.simulate(engine, requests, fleet)
    replica_s = requests.span_s * options.replicas
    scope = Scope(options.replicas, requests.span_s, replica_s, options.cooldown_s, options.offline_speed)
    in_flight = (sum(outcome.done_s) - sum(requests.at_s)) / replica_s
    latency = None if engine.batch > 1 << 30 or not len(requests) else _latency(requests, outcome)
    return harvest.measure(outcome, scope, len(requests), in_flight, latency)


def _latency(requests: Requests, outcome: Outcome) -> Latency:
    waits_s = sorted(map(sub, outcome.first_s, requests.at_s))  # once: summary sorts for each quantile
    told = stats.summary([wait_s * 1e3 for wait_s in waits_s], (0.5, 0.99))
    later = sum(requests.outputs) - len(requests)
    decode_ms = (sum(outcome.done_s) - sum(outcome.first_s)) * 1e3
    return Latency(told["p50"] or 0.0, told["p99"], decode_ms / later if later else None)
