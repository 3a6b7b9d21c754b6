"""Plans for the tests of what is told about them."""

from collections.abc import Sequence
from dataclasses import replace

from valve_loadgen.plan.engine import Engine
from valve_loadgen.plan.fleet import Options, Plan, plan
from valve_loadgen.plan.inputs import Traffic
from valve_loadgen.plan.requests import Requests, merged

from .traffic import poisson

OPTIONS = Options(replicas=4, engine=Engine(), cooldown_s=0.057, pack_limit=16)


def chat(rate_rps: float, span_s: float = 3600.0, seed: int = 1) -> Requests:
    """Poisson arrivals of 500 prompt tokens, 100 to 200 output tokens."""
    return poisson(rate_rps, span_s, lambda source: (500, source.randint(100, 200)), seed)


def planned(rates: Sequence[float], **changed: object) -> Plan:
    """A plan for one deployment by rate."""
    parts = [chat(rate, seed=number) for number, rate in enumerate(rates)]
    return plan(Traffic(merged(parts)), replace(OPTIONS, **changed))  # type: ignore[arg-type]
