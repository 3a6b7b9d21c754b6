"""What the live page and `valve top` show: a sidecar's state and its latest events, boiled down to one frame.

Pure; the fields of a frame are documented in docs/observability.md.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from statistics import median, quantiles
from typing import Any

Record = dict[str, Any]

REQUESTS = 2_000  # of the past that the comparison looks at
STOPS = 1_000
RECENT_NS = 30_000_000_000  # what "now" means for latencies
FRAME_ANSWERS = 500  # requests told one by one in a frame, at most
FRAME_MOMENTS = 500  # and other events
FRAME_EARLIER = 50  # and before those, of the ones that are no slice's
TOLD_STATE = (
    "version",
    "mode",
    "policy",
    "engine",
    "upstream",
    "gate",
    "gated",
    "problem",
    "in_flight",
    "cooldown_ms",
)
TOLD_TENANT = (
    "row",
    "pid",
    "job",
    "rank",
    "runner_pid",
    "mechanism",
    "state",
    "devices",
    "stops",
    "processes",
    "tokens",
    "input_tokens",
)
TOLD_MEMORY = ("device", "limit", "online", "tenants", "free", "reserved", "used", "reclaims", "decides")
CHANGES = 256  # of the gate, by which it is told whether a tenant stopped or ran because of a slice
FIGURES_NS = 1_000_000_000  # how often figures of many requests are worked out: it is most of a frame's cost
TROUBLE = ("slow_stops", "foreign_resumes", "escalations", "errors", "unstopped_threads", "refusals")


class Picture:
    """`take` events as they come, then make a `frame`."""

    def __init__(self) -> None:
        self._requests: deque[Record] = deque(maxlen=REQUESTS)
        self._stops: deque[Record] = deque(maxlen=STOPS)
        self._changes: deque[tuple[int, bool]] = deque(maxlen=CHANGES)  # of the gate: when, by a slice
        self._figures: Record = {}
        self._figured_ns = 0
        self._moments: list[Record] = []  # since the last frame: what is not a request
        self._answers: list[list[Any]] = []  # and what is

    def take(self, events: Iterable[Record]) -> None:
        for event in events:
            if event["kind"] == "request":
                self._take_request(event)
            else:
                self._moments.append(event | {"slice": True} if self._is_of_slice(event) else event)
                if "latency_ns" in event:
                    self._stops.append(event)

    def frame(self, state: Record) -> Record:
        """Hands over what has come since the last one."""
        earlier, moments = self._moments[:-FRAME_MOMENTS], self._moments[-FRAME_MOMENTS:]
        self._moments = []
        answers, self._answers = self._answers[-FRAME_ANSWERS:], []
        counters, now_ns = state["counters"], state["t_ns"]
        return (
            {key: state[key] for key in TOLD_STATE}
            | {
                "t_ns": now_ns,
                "tenants": [tenant_row(tenant) for tenant in state["tenants"] if tenant["alive"]],
                "memory": [{key: device[key] for key in TOLD_MEMORY} for device in state["memory"]],
                "closes_per_request_max": counters["closes_per_request_max"],
                "closes": counters["gate_closes"],
                "budget": budget_figures(state),
                "shares": state["shares"],
                "known_ns": moments[0]["t_ns"] if moments else now_ns,
                "events": [event for event in earlier if "slice" not in event][-FRAME_EARLIER:] + moments,
                "answers": answers,
            }
            | self._latest_figures(now_ns)
        )

    def _is_of_slice(self, event: Record) -> bool:
        """They come several times a second: listed, they would leave room for nothing else."""
        if event["kind"] in ("open", "close"):
            by_slice = "slice_until_ns" in event if event["kind"] == "open" else not event["request_id"]
            self._changes.append((event["t_ns"], by_slice))
            return by_slice
        if event["kind"] not in ("stopped", "resumed"):
            return False
        earlier = (by_slice for t_ns, by_slice in reversed(self._changes) if t_ns <= event["t_ns"])
        return next(earlier, False)  # what a tenant did is told late: the gate may have moved on since

    def _take_request(self, event: Record) -> None:
        if event["upgrade"]:
            return
        row = {
            "t_ns": event["t_ns"],
            "ttft_ms": ttft_ms(event),
            "tpot_ms": tpot_ms(event),
            "preempted": event["preemption_ns"] > 0,
        }
        self._requests.append(row)
        self._answers.append(list(row.values()))

    def _latest_figures(self, now_ns: int) -> Record:
        if not self._figures or now_ns - self._figured_ns >= FIGURES_NS:
            requests, preemption = self._request_figures(now_ns), self._preemption_figures()
            self._figures, self._figured_ns = {"requests": requests, "preemption": preemption}, now_ns
        return self._figures

    def _request_figures(self, now_ns: int) -> Record:
        recent = [row for row in self._requests if now_ns - row["t_ns"] < RECENT_NS]
        groups = {
            "now": recent,
            "stopping": [row for row in self._requests if row["preempted"]],
            "others": [row for row in self._requests if not row["preempted"]],
        }
        return {
            "recent": len(recent),
            "stopping": len(groups["stopping"]),
            "others": len(groups["others"]),
            "ttft_ms": {name: middle(rows, "ttft_ms") for name, rows in groups.items()},
            "tpot_ms": {name: middle(rows, "tpot_ms") for name, rows in groups.items()},
        }

    def _preemption_figures(self) -> Record:
        values = [stop["latency_ns"] / 1000 for stop in self._stops]
        if not values:
            return {"count": 0, "last_us": None, "p50_us": None, "p99_us": None, "max_us": None}
        p99 = quantiles(values, n=100, method="inclusive")[-1] if len(values) > 1 else values[0]
        return {
            "count": len(values),
            "last_us": values[-1],
            "p50_us": median(values),
            "p99_us": p99,
            "max_us": max(values),
        }


def budget_figures(state: Record) -> Record | None:
    """None under policy drain. `spent`: of what requests that have ended had earned."""
    budget, counters = state["budget"], state["counters"]
    if budget is None:
        return None
    earned_s = counters["budget_earned_s"]
    figures: Record = budget | {
        "slices": counters["slices"],
        "cut": counters["slices_cut"],
        "sliced": counters["sliced"],
        "missed": counters["sliced_missed"],
        "spent": counters["budget_spent_s"] / earned_s if earned_s else None,
    }
    return figures


def ttft_ms(event: Record) -> float | None:
    if not event["streamed"] or not event["first_token_ns"]:
        return None
    return float((event["first_token_ns"] - event["readable_ns"]) / 1e6)


def tpot_ms(event: Record) -> float | None:
    if not event["streamed"] or event["tokens"] < 2:
        return None
    return float((event["last_token_ns"] - event["first_token_ns"]) / 1e6 / (event["tokens"] - 1))


def middle(rows: list[Record], key: str) -> float | None:
    values = [row[key] for row in rows if row[key] is not None]
    return median(values) if values else None


def tenant_row(tenant: Record) -> Record:
    trouble = {key: tenant[key] for key in TROUBLE if tenant[key]}
    return {key: tenant[key] for key in TOLD_TENANT} | {"trouble": trouble}
