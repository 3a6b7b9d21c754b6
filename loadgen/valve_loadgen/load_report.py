"""Owns the report of `valve bench run`, computed from the exchanges, and what makes it invalid (pure)."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from valve_loadgen import stats
from valve_loadgen.exchange import Exchange
from valve_loadgen.self_check import delivered_fraction
from valve_loadgen.slo import Slo
from valve_loadgen.validity import DELIVERED, LAG_MS, LAG_SHARE, check_reasons

ERRORS_SHOWN = 10


@dataclass(frozen=True)
class Measured:
    """A window of a run: [begin_ns, end_ns) by scheduled time; what lies outside is sent but not counted."""

    exchanges: Sequence[Exchange]
    begin_ns: int
    end_ns: int

    @property
    def counted(self) -> list[Exchange]:
        return [each for each in self.exchanges if self.begin_ns <= each.sched_ns < self.end_ns]

    @property
    def wall_s(self) -> float:
        return (self.end_ns - self.begin_ns) / 1e9


def report(measured: Measured, slo: Slo | None, self_check: dict[str, Any] | None) -> dict[str, Any]:
    """The keys of docs/report.md that follow from the exchanges. `self_check`: its report, if it ran."""
    counted = measured.counted
    done = [each for each in counted if each.ok]
    figures = {
        "requests": _counts(counted),
        "rate": _rate(counted, measured.wall_s),
        "ttft_ms": figure(done, lambda each: each.ttft_ms),
        "ttft_from_send_ms": figure(done, lambda each: each.ttft_from_send_ms),
        "tpot_ms": figure(done, lambda each: each.tpot_ms),
        "icl_ms": stats.quantiles([gap for each in done for gap in each.chunk_gaps_ms]),
        "latency_ms": figure(done, lambda each: each.latency_ms),
        "send_lag_ms": stats.quantiles([each.lag_ns / 1e6 for each in counted if each.send_ns]),
        "output_tokens_per_s": sum(each.tokens for each in done) / measured.wall_s,
        "goodput": slo.goodput(counted, measured.wall_s) if slo else None,
        "errors": _errors(counted),
        "self_check": self_check,
    }
    reasons = list(_reasons(figures, counted))
    return {"valid": not reasons, "reasons": reasons, **figures}


def figure(exchanges: Sequence[Exchange], of: Callable[[Exchange], float | None]) -> dict[str, Any]:
    """`stats.quantiles` of a figure of the requests."""
    return stats.quantiles([value for value in map(of, exchanges) if value is not None])


def _counts(counted: Sequence[Exchange]) -> dict[str, int]:
    return {
        "counted": len(counted),
        "completed": sum(each.ok for each in counted),
        "cancelled": sum(each.cancelled for each in counted),
        "failed": sum(not each.ok and not each.cancelled for each in counted),
    }


def _rate(counted: Sequence[Exchange], wall_s: float) -> dict[str, float]:
    sent = sum(bool(each.send_ns) for each in counted)
    return {
        "planned_per_s": len(counted) / wall_s,
        "completed_per_s": sum(each.ok for each in counted) / wall_s,
        "delivered_fraction": delivered_fraction(counted, sent),
    }


def _errors(counted: Sequence[Exchange]) -> list[str]:
    failed = [each for each in counted if not each.ok and not each.cancelled]
    return [f"{each.request_id}: {each.error or f'status {each.status}'}" for each in failed[:ERRORS_SHOWN]]


def _reasons(figures: dict[str, Any], counted: Sequence[Exchange]) -> Iterator[str]:
    if not figures["requests"]["completed"]:
        yield "no request was completed"
    delivered = figures["rate"]["delivered_fraction"]
    if delivered < DELIVERED:
        yield f"only {delivered:.1%} of the planned rate was sent"
    lags = [each.lag_ns / 1e6 for each in counted if each.send_ns]
    lag_p99_ms = stats.percentile(lags, 0.99) if lags else 0.0
    bound_ms = max(LAG_MS, LAG_SHARE * (figures["ttft_ms"]["p50"] or 0.0))
    if lag_p99_ms > bound_ms:
        yield f"the client sent late, p99 {lag_p99_ms:.2f} ms, over the bound of {bound_ms:.2f} ms"
    if figures["self_check"]:
        sizes = figures["ttft_ms"]["p50"], figures["tpot_ms"]["p50"]
        yield from (f"self-check: {reason}" for reason in check_reasons(figures["self_check"], *sizes))
