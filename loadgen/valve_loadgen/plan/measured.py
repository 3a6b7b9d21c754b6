"""Owns the planner's view of a `valve bench colocate` report: its requests, and what was measured (pure)."""

import math
from array import array
from dataclasses import dataclass
from typing import Any

import orjson

from valve_loadgen.errors import BenchError
from valve_loadgen.plan import kernel
from valve_loadgen.plan.engine import Engine
from valve_loadgen.plan.kernel import Fleet, Rule
from valve_loadgen.plan.requests import Requests


@dataclass(frozen=True)
class Measured:
    """Windows of one engine, each begun idle: its requests are one deployment a window."""

    requests: Requests
    ttft_ms: list[float | None]
    total_ms: list[float | None]
    """Of the online engine alone, by request; None where it failed."""
    cooldown_s: float | None
    """As fixed, else the median of what the sidecar chose; None if the gate never opened."""
    harvest_fraction: float
    """By offline tokens, against alone."""
    open_fraction: float | None
    """By time: no tenant was stopped. None in reports of older versions."""
    drained_fraction: float
    """All three with Valve."""
    open_by_window: list[float]
    """By the sidecar's word: its gate was not closed."""


@dataclass(frozen=True)
class Predicted:
    """The same windows simulated."""

    ttft_ms: list[float]
    total_ms: list[float]
    drained_fraction: float
    open_fraction: float


def looks_like(text: str) -> bool:
    return text.lstrip().startswith("{") and '"online_alone"' in text


def read(text: str, name: str) -> Measured:
    """Raises BenchError when it is not such a report, or one without what is needed."""
    try:
        report: dict[str, Any] = orjson.loads(text)
        valve, rows = report["arms"]["shared_valve"], report["requests"]
        return _measured(report, valve, sorted(rows, key=lambda row: row["at_s"]))
    except (ValueError, KeyError, TypeError) as error:
        raise BenchError(
            f"{name}: not a whole report of `valve bench colocate` ({type(error).__name__}: {error}); "
            "give the report.json of a run with this version"
        ) from error


def _measured(report: dict[str, Any], valve: dict[str, Any], rows: list[dict[str, Any]]) -> Measured:
    rounds, fixed_ms = report["rounds"], report["cooldown_ms"]
    cooldown_ms = report["harvest"]["cooldown_ms"] if fixed_ms is None else fixed_ms
    return Measured(
        Requests(
            report["window_s"],
            [f"window {number + 1}" for number in range(rounds)],
            array("d", (row["at_s"] for row in rows)),
            array("I", (row["input_tokens"] for row in rows)),
            array("I", (row["output_tokens"] for row in rows)),
            array("I", (row["round"] for row in rows)),
        ),
        [row["ttft_ms"] for row in rows],
        [row["total_ms"] for row in rows],
        None if cooldown_ms is None else cooldown_ms / 1e3,
        float(valve["harvested_fraction"]),
        report.get("gate_open_fraction"),
        float(valve["drained_fraction"]),
        [_open_share(each) for each in report.get("timelines", ()) if each["arm"] == "shared_valve"],
    )


def _open_share(timeline: dict[str, Any]) -> float:
    closed_s: float = sum(end - start for start, end in timeline["gate_closed"])
    return 1.0 - closed_s / float(timeline["span_s"])


def predict(engine: Engine, requests: Requests, cooldown_s: float) -> Predicted:
    """Every window on a replica of its own, until its last request has ended."""
    windows = len(requests.deployments)
    fleet = Fleet(windows, [(number, 1) for number in range(windows)], Rule.ROTATE)
    out = kernel.simulate(engine, requests, fleet)
    ends_s = [requests.span_s] * windows
    for window, done_s in zip(requests.group, out.done_s, strict=True):
        ends_s[window] = max(ends_s[window], done_s)
    sums = kernel.harvest(out, requests.span_s, cooldown_s, requests.span_s)
    return Predicted(
        _since(out.first_s, requests),
        _since(out.done_s, requests),
        sum(sums.drained_s) / sum(ends_s),
        sum(sums.open_s) / sum(ends_s),
    )


def _since(stamps_s: "array[float]", requests: Requests) -> list[float]:
    return [(stamp - at) * 1e3 for stamp, at in zip(stamps_s, requests.at_s, strict=True)]


def distance(measured: Measured, predicted: Predicted) -> float:
    """Mean absolute log ratio of predicted to measured, first tokens and whole answers alike."""
    pairs = [*zip(measured.ttft_ms, predicted.ttft_ms, strict=True)]
    pairs += zip(measured.total_ms, predicted.total_ms, strict=True)
    ratios = [abs(math.log(told / seen)) for seen, told in pairs if seen]
    return sum(ratios) / len(ratios) if ratios else 0.0
