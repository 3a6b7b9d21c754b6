"""Which policy runs, what it is to reach, and what that promises, in words. Pure."""

from __future__ import annotations

from .budget import Goal, period_ns
from .config import ServeConfig
from .errors import ConfigError

DRAIN, BUDGET = "drain", "budget"
SLO_KEYS = ("slo_tpot_ms", "tpot_budget", "slo_ttft_ms", "slices_per_s")


def goal_of(config: ServeConfig) -> Goal | None:
    """None: policy drain. Raises ConfigError if policy and SLO do not go together."""
    given = [key for key in SLO_KEYS if getattr(config, key) is not None]
    if config.policy != BUDGET:
        if given:
            raise ConfigError(f"{flag(given[0])} says something to --policy budget only: add that")
        return None
    if (config.slo_tpot_ms is None) == (config.tpot_budget is None):
        raise ConfigError(
            "policy budget needs one SLO to spend: --slo-tpot-ms 50 (milliseconds a token), or --tpot-budget "
            "20% (above the engine's own pace, which is measured)"
        )
    return Goal(
        int((config.slo_tpot_ms or 0) * 1e6),
        config.tpot_budget or 0.0,
        int((config.slo_ttft_ms or 0) * 1e6),
        int(1e9 / config.slices_per_s) if config.slices_per_s else 0,
    )


def promise(goal: Goal | None) -> str:
    """What users may rely on under it."""
    if goal is None:
        return "policy drain: closed while anything is in flight; at most one preemption in a request's life"
    until = f"{goal.slo_ns / 1e6:g} ms" if goal.slo_ns else f"{goal.over:.0%} above the measured baseline"
    text = f"policy budget: TPOT up to {until} for 99 % of requests"
    if goal.ttft_ns:
        text += f", fewer at once where TTFT exceeds {goal.ttft_ns / 1e6:g} ms"
    if not goal.slo_ns:
        return f"{text}; at most one slice in twice that, and none until the baseline is known"
    span_ns = period_ns(goal.slo_ns, goal.period_min_ns)
    text += f"; at most {1e9 / span_ns:.1f} slices/s"
    return f"{text}, none of which makes a gap above {span_ns / 1e6:.0f} ms"


def flag(key: str) -> str:
    return f"--{key.replace('_', '-')}"
