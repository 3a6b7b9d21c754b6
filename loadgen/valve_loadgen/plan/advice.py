"""Owns the plain words: which case the user is in, whether colocation is worth it, what would help (pure)."""

from valve_loadgen.plan.fleet import Plan
from valve_loadgen.plan.harvest import Harvest
from valve_loadgen.plan.routing import DEDICATED, OBSERVED, PACK_FIRST

ALMOST_NOTHING, LITTLE, MUCH = 0.05, 0.15, 0.40
BEYOND_CHANCE = 0.05
BETTER = 1.5
MISSED = 0.01
QUEUED_MS = 10_000.0


def advice(plan: Plan) -> list[str]:
    """Sentences: verdict, case, what would help, what to beware of."""
    return [verdict(plan), case(plan), *_remedies(plan), *_warnings(plan)]


def verdict(plan: Plan) -> str:
    head = plan.headline
    yields = (
        f"{head.harvest_fraction:.1%} of {plan.gpus} GPUs can be harvested, "
        f"the work of {plan.saved(head.harvest_fraction):.1f} GPUs."
    )
    if head.harvest_fraction < ALMOST_NOTHING:
        return f"Almost nothing here: {yields}"
    if head.harvest_fraction < LITTLE:
        return f"A little: {yields}"
    return f"{'Much' if head.harvest_fraction >= MUCH else 'Worth it'}: {yields}"


def case(plan: Plan) -> str:
    """Which of the cases it is: long tail, packed, evenly loaded or bursty."""
    head = plan.headline
    if plan.chosen == DEDICATED and len(plan.deployments) > 1:
        shared = "of their own" if len(plan.deployments) <= head.replicas else "that some share"
        return (
            f"Your case is a long tail: {len(plan.deployments)} deployments with replicas {shared}. "
            f"A replica has {head.in_flight:.2g} requests in flight on average and nothing at all "
            f"{head.drained_fraction:.0%} of the time."
        )
    if plan.chosen == PACK_FIRST:
        return (
            f"Your case is a packed fleet: {head.unused} of {plan.options.replicas} replicas serve nothing, "
            f"and the others drain in turn; {head.drained_fraction:.0%} of all time."
        )
    return _pool(plan, head)


def _budget(plan: Plan) -> str:
    """What policy budget would do at about this load, under the routing as it is."""
    points = plan.policies.by_routing.get(plan.chosen, []) if plan.policies and plan.load else []
    point = min(points, key=lambda point: abs(point.load - (plan.load or 0.0)), default=None)
    if plan.policies is None or point is None or point.met is None or point.met_alone is None:
        return ""
    if point.budget < max(point.drain * BETTER, ALMOST_NOTHING) or point.met < point.met_alone - MISSED:
        return ""
    return (
        f"Policy budget would give {point.budget:.0%} at {point.load:.0%} load, if your users accept "
        f"{plan.policies.slo_ms:g} ms a token: {point.met:.1%} of the requests stay within that. Its price: "
        f"TTFT p50 {point.ttft_alone_ms:.0f} to {point.ttft_ms:.0f} ms (docs/policies.md)."
    )


def _pool(plan: Plan, head: Harvest) -> str:
    start = "Your replicas look like" if plan.chosen == OBSERVED else "Your case is"
    bursty = head.drained_fraction > head.by_chance + BEYOND_CHANCE
    kind = "a bursty pool" if bursty else "an evenly loaded pool"
    moral = (
        "The gaps between bursts are what is harvested."
        if bursty
        else "Only fewer requests in flight by replica would give more."
    )
    return (
        f"{start} {kind}: {head.in_flight:.2g} requests in flight by replica on average, and a replica is "
        f"empty {head.drained_fraction:.1%} of the time; arrivals without a pattern would leave it empty "
        f"e^-{head.in_flight:.2g} = {head.by_chance:.1%}. {moral}"
    )


def _remedies(plan: Plan) -> list[str]:
    found = [_budget(plan), *(_remedy(plan, name) for name in (PACK_FIRST, DEDICATED))]
    if plan.packed_fraction is not None and plan.packed_fraction > plan.headline.harvest_fraction * BETTER:
        found.append(
            f"Pack-first routing would help: with up to {plan.options.pack_limit} requests to a replica "
            f"{plan.packed_fraction:.0%} of the fleet would be empty at a time, at most."
        )
    return [text for text in found if text]


def _remedy(plan: Plan, name: str) -> str:
    other, head = plan.harvests.get(name), plan.headline
    if other is None or name == plan.chosen or (name == DEDICATED and len(plan.deployments) < 2):
        return ""
    if other.harvest_fraction < max(head.harvest_fraction * BETTER, ALMOST_NOTHING):
        return ""
    if name == DEDICATED:
        return f"Replicas of their own for each deployment would give {other.harvest_fraction:.0%}."
    spare = (
        f" {other.unused} replicas would serve nothing and could be switched off instead."
        if other.unused
        else ""
    )
    return (
        f"Pack-first routing would give {other.harvest_fraction:.0%} on the same traffic: fill a replica up "
        f"to {plan.options.pack_limit} requests before using the next.{spare}{_price(head, other)}"
    )


def _price(head: Harvest, other: Harvest) -> str:
    before, after = head.latency, other.latency
    if not before or not after or before.tpot_ms is None or after.tpot_ms is None:
        return ""
    return (
        f" Its price: TTFT p50 {before.ttft_p50_ms:.0f} to {after.ttft_p50_ms:.0f} ms, "
        f"TPOT {before.tpot_ms:.1f} to {after.tpot_ms:.1f} ms."
    )


def _warnings(plan: Plan) -> list[str]:
    head, warnings = plan.headline, []
    if plan.load is not None and plan.load > 1:
        warnings.append(
            f"The traffic needs {plan.load * plan.options.replicas:.1f} replicas that are always full; "
            f"{plan.options.replicas} cannot serve it, and queues grow without end in this simulation."
        )
    if head.harvest.ci95 is None:
        warnings.append("The input is too short to say how much this varies from hour to hour.")
    slow_ms = head.latency.ttft_p99_ms if head.latency else None
    if slow_ms is not None and slow_ms > QUEUED_MS:
        warnings.append(
            f"One request in a hundred waits {slow_ms / 1e3:.0f} s or more for its first token: some "
            "replicas are overloaded at times, and need more of them."
        )
    rate = head.preemptions_per_request
    if rate is not None and rate > 0.5 and head.harvest_fraction >= ALMOST_NOTHING:
        warnings.append(
            f"Most requests find the gate open ({rate:.2f} preemptions per request): each pays the "
            "preemption latency once."
        )
    return warnings
