"""Owns what a colocation run yields: windows of the four arms, and the report computed from them (pure)."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from valve_loadgen import events as joins
from valve_loadgen import stats
from valve_loadgen.events import Event
from valve_loadgen.exchange import Exchange
from valve_loadgen.stats import Estimate, Pair

ONLINE_ALONE, OFFLINE_ALONE = "online_alone", "offline_alone"
NO_GATE, VALVE, BUDGET = "shared_no_gate", "shared_valve", "shared_budget"
ARMS = (ONLINE_ALONE, OFFLINE_ALONE, NO_GATE, VALVE)
GOALS = {"ttft_inflation": 1.05, "tpot_inflation": 1.02, "harvest_efficiency": 0.90}
PREEMPTION_P99_SAMPLES = 500
BIN_NS = 100_000_000

Figure = Callable[[Exchange], float | None]


@dataclass
class Window:
    """One arm's turn in one round: [start_ns, end_ns), what was asked in it, the offline tokens that came."""

    arm: str
    round: int
    start_ns: int
    end_ns: int
    exchanges: list[Exchange] = field(default_factory=list)
    offline_tokens: int = 0
    offline_bins: list[int] = field(default_factory=list)
    """The same by BIN_NS."""

    @property
    def wall_s(self) -> float:
        return (self.end_ns - self.start_ns) / 1e9

    @property
    def drained_s(self) -> float:
        """Time with nothing in flight, as the client sees it."""
        return stats.drained_ns(self.busy, self.start_ns, self.end_ns) / 1e9

    @property
    def busy(self) -> list[tuple[int, int]]:
        """Each request's time in flight."""
        return [(each.send_ns or each.sched_ns, each.done_ns or self.end_ns) for each in self.exchanges]


def ttft_ms(exchange: Exchange) -> float | None:
    return exchange.ttft_ms if exchange.ok else None


def tpot_ms(exchange: Exchange) -> float | None:
    return exchange.tpot_ms if exchange.ok else None


@dataclass
class Results:
    """Everything measured so far; `report` may be asked at any time."""

    windows: list[Window] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    budget_events: list[Event] = field(default_factory=list)
    """Of the sidecar with policy budget, if there is one."""
    offline_errors: list[str] = field(default_factory=list)
    lapses: int = 0

    @property
    def arms(self) -> list[str]:
        """The four, then the baselines."""
        return [*ARMS, *dict.fromkeys(window.arm for window in self.windows if window.arm not in ARMS)]

    @property
    def exchanges(self) -> list[Exchange]:
        """Of all windows; the request ids begin with the arm."""
        return [exchange for window in self.windows for exchange in window.exchanges]

    def of(self, arm: str) -> list[Window]:
        return [window for window in self.windows if window.arm == arm]

    def rate(self, arm: str) -> float | None:
        """Offline tokens per second over the arm's wall time."""
        wall_s = sum(window.wall_s for window in self.of(arm))
        return sum(window.offline_tokens for window in self.of(arm)) / wall_s if wall_s else None

    def report(self) -> dict[str, Any]:
        """The report's keys that follow from the measurements."""
        efficiency = self.harvest_efficiency()
        return {
            "arms": {arm: self._arm(arm) for arm in self.arms},
            **{
                f"{name}_inflation{suffix}": _told(self.inflation(figure, arm), GOALS[f"{name}_inflation"])
                for name, figure in (("ttft", ttft_ms), ("tpot", tpot_ms))
                for suffix, arm in (("", VALVE), ("_no_gate", NO_GATE))
            },
            "harvest_efficiency": efficiency.value,
            "harvest_efficiency_ci95": efficiency.ci95,
            "harvest_efficiency_verdict": efficiency.above(GOALS["harvest_efficiency"]),
            "baselines": {arm: self.against_alone(arm) for arm in self.arms if arm not in (*ARMS, BUDGET)},
            "ttft_inflation_by_role": self._by_role(),
            "preempting_requests": self._preempting(),
            **self._preemption(),
            "sidecar": self._sidecar(),
        }

    def inflation(self, figure: Figure, arm: str, only: Callable[[Exchange], bool] = bool) -> Estimate:
        """Median of `figure` in `arm` over that in online_alone, paired by request, blocks by round.

        `only`: which of `arm`'s requests count.
        """
        return stats.ratio_of_medians(self._pairs(figure, arm, only))

    def against_alone(self, arm: str) -> dict[str, Any]:
        """Inflation of the medians."""
        return {
            f"{name}_inflation": _told(self.inflation(figure, arm), GOALS[f"{name}_inflation"])
            for name, figure in (("ttft", ttft_ms), ("tpot", tpot_ms))
        }

    def _preempting(self) -> list[dict[str, Any]]:
        """The requests that closed the gate: how long that took, their TTFT, and the same request's alone."""
        found = {each.request_id: each for each in joins.preemptions(self.events)}
        alone = {(w.round, e.name): ttft_ms(e) for w in self.of(ONLINE_ALONE) for e in w.exchanges}
        return [
            {
                "request_id": each.request_id,
                "round": window.round,
                "latency_ms": _ms(found[each.request_id].latency_ns),
                "ttft_ms": ttft_ms(each),
                "ttft_alone_ms": alone.get((window.round, each.name)),
            }
            for window in self.of(VALVE)
            for each in window.exchanges
            if each.request_id in found
        ]

    def _by_role(self) -> dict[str, Any]:
        """TTFT of the requests that closed the gate, and of those that found it closed."""
        closed = {event["request_id"] for event in joins.of_kind(self.events, "close")}
        roles: dict[str, Callable[[Exchange], bool]] = {
            "preempting": lambda each: each.request_id in closed,
            "riding": lambda each: each.request_id not in closed,
        }
        return {
            role: _told(self.inflation(ttft_ms, VALVE, only), GOALS["ttft_inflation"])
            for role, only in roles.items()
        }

    def _pairs(self, figure: Figure, arm: str, only: Callable[[Exchange], bool]) -> list[list[Pair]]:
        control = {(w.round, e.name): figure(e) for w in self.of(ONLINE_ALONE) for e in w.exchanges}
        blocks: dict[int, list[Pair]] = defaultdict(list)
        for window in self.of(arm):
            for exchange in window.exchanges:
                before, after = control.get((window.round, exchange.name)), figure(exchange)
                if before is not None and after is not None and only(exchange):
                    blocks[window.round].append((before, after))
        return list(blocks.values())

    def harvest_efficiency(self) -> Estimate:
        """(offline tokens per s under Valve / alone) / drained fraction under Valve, rounds drawn."""
        valve = {window.round: window for window in self.of(VALVE)}
        alone = {window.round: window for window in self.of(OFFLINE_ALONE)}
        rounds = [(valve[i], alone[i]) for i in sorted(valve.keys() & alone.keys())]
        if not sum(window.offline_tokens for _, window in rounds) or not sum(v.drained_s for v, _ in rounds):
            return Estimate(None)
        parts = [(v.offline_tokens, v.drained_s, a.offline_tokens, a.wall_s) for v, a in rounds]

        def figure(drawn: Sequence[tuple[int, float, int, float]]) -> float:
            tokens, drained_s, alone_tokens, alone_s = (sum(column) for column in zip(*drawn, strict=True))
            possible = alone_tokens / alone_s * drained_s
            return tokens / possible if possible else 0.0

        return stats.bootstrap(parts, figure, seed=0)

    def _arm(self, arm: str) -> dict[str, Any]:
        windows = self.of(arm)
        wall_s = sum(window.wall_s for window in windows)
        exchanges = [exchange for window in windows for exchange in window.exchanges]
        rate, alone = self.rate(arm), self.rate(OFFLINE_ALONE)
        return {
            "ttft_ms": _summary(exchanges, ttft_ms),
            "tpot_ms": _summary(exchanges, tpot_ms),
            "offline_tokens_per_s": rate,
            "drained_fraction": sum(w.drained_s for w in windows) / wall_s if wall_s else None,
            "harvested_fraction": rate / alone if rate is not None and alone else None,
            "wall_s": wall_s,
            "requests": len(exchanges),
            "errors": [
                f"{each.request_id}: {each.error or each.status}" for each in exchanges if not each.ok
            ],
            "send_lag_ms": _lag(exchanges),
            "samples": {"ttft_ms": _samples(exchanges, ttft_ms), "tpot_ms": _samples(exchanges, tpot_ms)},
        }

    def _preemption(self) -> dict[str, Any]:
        """Over every close, warm-up included: what the tenants told."""
        found = [each for each in joins.preemptions(self.events) if each.stops]
        per_request = joins.stops_per_request(self.events)
        asked = {exchange.request_id for window in self.of(VALVE) for exchange in window.exchanges}
        counts = [count for request_id, count in per_request.items() if request_id in asked]
        return {
            "preemptions": len(found),
            "preemptions_per_request_max": max(counts, default=None),
            "preemptions_per_request_mean": stats.mean(counts),
            "at_most_once_verdict": _at_most_once(counts),
            "preemption_latency_ms": latency([each.latency_ns for each in found]),
            "parsed_to_stopped_ms": latency([each.parsed_to_stopped_ns for each in found]),
        }

    def _sidecar(self) -> dict[str, Any]:
        """Client stamps joined with the sidecar's by request id: what the wire and the proxy add."""
        told = {event["request_id"]: event for event in joins.of_kind(self.events, "request")}
        pairs = [
            (each, told[each.request_id])
            for window in self.of(VALVE)
            for each in window.exchanges
            if each.ok and each.request_id in told
        ]
        return {
            "joined": len(pairs),
            "client_send_to_head_parsed_ms": _summary_ms([e["arrival_ns"] - x.send_ns for x, e in pairs]),
            "first_token_to_client_ms": _summary_ms(
                [x.token_ns[0] - e["first_token_ns"] for x, e in pairs if x.token_ns and e["first_token_ns"]]
            ),
        }


def latency(spans_ns: Sequence[int | None]) -> dict[str, float | int | None]:
    """{"p50", "p99", "max", "n"} in ms; p99 from PREEMPTION_P99_SAMPLES samples on."""
    values = [span / 1e6 for span in spans_ns if span is not None]
    result = stats.summary(values, (0.5, 0.99), PREEMPTION_P99_SAMPLES)
    return {"p50": result["p50"], "p99": result["p99"], "max": max(values, default=None), "n": len(values)}


def _at_most_once(counts: Sequence[int]) -> stats.Verdict:
    if not counts:
        return "inconclusive"
    return "met" if max(counts) <= 1 else "missed"


def _ms(span_ns: int | None) -> float | None:
    return None if span_ns is None else span_ns / 1e6


def _told(estimate: Estimate, goal: float) -> dict[str, Any]:
    return {"p50": estimate.value, "ci95": estimate.ci95, "goal": goal, "verdict": estimate.below(goal)}


def _summary(exchanges: Sequence[Exchange], figure: Figure) -> dict[str, Any] | None:
    values = [value for value in map(figure, exchanges) if value is not None]
    return stats.summary(values) if exchanges else None


def _samples(exchanges: Sequence[Exchange], figure: Figure) -> list[float]:
    return [round(value, 3) for value in map(figure, exchanges) if value is not None]


def _summary_ms(spans_ns: Sequence[int]) -> dict[str, Any]:
    return stats.summary([span / 1e6 for span in spans_ns])


def _lag(exchanges: Sequence[Exchange]) -> dict[str, float] | None:
    lags = [exchange.lag_ns / 1e6 for exchange in exchanges if exchange.send_ns]
    if not lags:
        return None
    return {"p50": stats.percentile(lags, 0.5), "p99": stats.percentile(lags, 0.99), "max": max(lags)}
