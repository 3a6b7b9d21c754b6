"""Owns `valve bench self-check`: how far the client's figures are from the exact mock's, here and now."""

import itertools
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from valve_loadgen import patterns, stats
from valve_loadgen.arrivals import Planned
from valve_loadgen.cpus import available, kept_on, place
from valve_loadgen.exact_mock import Truth, exact_mock
from valve_loadgen.exchange import Exchange
from valve_loadgen.validity import check_reasons
from valve_loadgen.workers import Sending, Sent, named, send

TOKENS = 16
WARM_UPS = 50


@dataclass(frozen=True)
class SelfCheckPlan:
    """Poisson arrivals of `rate` per second for `seconds`, from `processes` processes."""

    rate: float = 1000.0
    seconds: float = 5.0
    processes: int = 1
    seed: int = 1

    def requests(self) -> list[Planned]:
        times_s = patterns.poisson(self.rate, self.seconds, random.Random(self.seed))
        return [Planned(f"r{i}", round(at_s * 1e9), "x", TOKENS) for i, at_s in enumerate(times_s)]


async def self_check(plan: SelfCheckPlan) -> dict[str, Any]:
    """The verdict of `judge`; the mock has the first core, the client the others. Raises BenchError."""
    placement = place(available())
    requests = plan.requests()
    with kept_on(placement.others), exact_mock(placement.engines, tokens=TOKENS) as mock:
        sending = Sending(mock.target, connections=_connections(plan))
        await send(requests[:WARM_UPS], named(sending))
        sent = await send(requests, named(sending), plan.processes)
    told = judge(sent, mock.truths)
    if placement.shared:
        told["reasons"].append("only one core: the mock and the client compete for it")
    return {**told, "valid": not told["reasons"]}


def _connections(plan: SelfCheckPlan) -> int:
    """Twice as many as are in flight on average."""
    in_flight = plan.rate * (20 + 5 * TOKENS) / 1e3
    return round(2 * in_flight / plan.processes) + 8


def judge(sent: Sent, truths: Mapping[str, Truth]) -> dict[str, Any]:
    """The report: absolute errors in ms; TTFT counts from the scheduled time, so that a late send is one."""
    pairs = [(each, truths[each.request_id]) for each in sent.exchanges if each.ok]
    ttfts = [abs(each.token_ns[0] - each.sched_ns - truth.ttft_ns) / 1e6 for each, truth in pairs]
    gaps = [error for each, truth in pairs for error in _gap_errors_ms(each, truth)]
    delivered = delivered_fraction(sent.exchanges, len(pairs))
    told = {
        "ttft_ms_error": _errors(ttfts),
        "gap_ms_error": _errors(gaps),
        "delivered_fraction": delivered,
        "cpu_s_per_1000": sent.cpu_s / len(sent.exchanges) * 1000 if sent.exchanges else None,
    }
    return {"valid": False, **told, "reasons": list(check_reasons(told))}


def delivered_fraction(exchanges: Sequence[Exchange], counted: int) -> float:
    """Achieved rate over planned rate: `counted` of the requests, stretched as their sending was."""
    if len(exchanges) < 2:
        return float(counted == len(exchanges))
    planned_ns = max(each.sched_ns for each in exchanges) - min(each.sched_ns for each in exchanges)
    taken_ns = max(each.send_ns for each in exchanges) - min(
        each.send_ns or each.sched_ns for each in exchanges
    )
    return counted / len(exchanges) * min(1.0, planned_ns / max(taken_ns, 1))


def _gap_errors_ms(exchange: Exchange, truth: Truth) -> Iterator[float]:
    """Client minus mock, gap by gap."""
    errors_ns = [seen - sent for seen, sent in zip(exchange.token_ns, truth.sent_ns, strict=True)]
    return (abs(after - before) / 1e6 for before, after in itertools.pairwise(errors_ns))


def _errors(values: Sequence[float]) -> dict[str, float | int | None]:
    told = stats.summary(values, (0.5, 0.99)) if values else {}
    return {"p50": told.get("p50"), "p99": told.get("p99")}


def render(told: dict[str, Any], plan: SelfCheckPlan) -> str:
    """The report as lines for a person."""
    lines = [f"{plan.rate:g} requests/s of {TOKENS} tokens for {plan.seconds:g} s against the exact mock:"]
    for key, title in (("ttft_ms_error", "TTFT error"), ("gap_ms_error", "gap error")):
        parts = (f"{name} {value:.4f} ms" for name, value in told[key].items() if value is not None)
        lines.append(f"{title}: {', '.join(parts) or '-'}")
    lines.append(f"delivered: {told['delivered_fraction']:.2%}")
    lines.append(f"CPU: {told['cpu_s_per_1000'] or 0.0:.3f} s per 1,000 requests")
    lines += [f"INVALID: {reason}" for reason in told["reasons"]] or ["valid"]
    return "\n".join(lines)
