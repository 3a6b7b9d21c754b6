"""Owns the reading of a Prometheus range query: requests in flight by instance -> idle gaps (pure)."""

import itertools
import json
import math
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from valve_loadgen.errors import BenchError
from valve_loadgen.plan.observed import Observed, outcome

ASK = (
    "export it with `curl 'PROMETHEUS/api/v1/query_range?query=vllm:num_requests_running"
    "&start=..&end=..&step=15'`"
)
NAMING = ("instance", "pod", "pod_name", "container", "server")

Series = dict[float, float]


def looks_like(text: str) -> bool:
    head = text.lstrip()[:400]
    return head.startswith("{") and ('"resultType"' in head or ('"status"' in head and '"data"' in head))


def read(text: str, name: str, pack_limit: int) -> Observed:
    """Instances' idle gaps in the samples of `text`. Raises BenchError that names the place and the mend."""
    replicas = _replicas(_result(text, name), name)
    stamps = sorted({stamp for samples in replicas.values() for stamp in samples})
    if len(stamps) < 2:
        raise BenchError(f"{name}: fewer than two samples; widen start..end or shorten step")
    step_s = min(later - earlier for earlier, later in itertools.pairwise(stamps))
    start_s, samples = stamps[0], list(replicas.values())
    gaps = [
        (number, begin - start_s, end - start_s)
        for number, series in enumerate(samples)
        for begin, end in _zero_runs(series, step_s)
    ]
    taken = sum(len(series) for series in samples)
    return Observed(
        outcome(gaps),
        list(replicas),
        stamps[-1] - start_s + step_s,
        taken * step_s,
        sum(sum(series.values()) for series in samples) * step_s,
        packed_fraction=_packed(samples, pack_limit),
        sampled_s=step_s,
    )


def _result(text: str, name: str) -> list[dict[str, Any]]:
    try:
        document = json.loads(text)
    except ValueError as error:
        raise BenchError(f"{name}: not a JSON document: {error}; {ASK}") from error
    data = document.get("data", document)
    if document.get("status", "success") != "success":
        raise BenchError(f"{name}: Prometheus answered {document.get('error', document['status'])!r}; {ASK}")
    if not isinstance(data, dict) or data.get("resultType") != "matrix":
        kind = data.get("resultType") if isinstance(data, dict) else type(data).__name__
        raise BenchError(f"{name}: data.resultType is {kind!r}, not 'matrix'; a range query is needed: {ASK}")
    result: list[dict[str, Any]] = data.get("result") or []
    if not result:
        raise BenchError(f"{name}: the query found no series; check the metric's name and the time range")
    return result


def _replicas(result: Sequence[dict[str, Any]], name: str) -> dict[str, Series]:
    """By instance: samples by time; an instance's series (engines, running and waiting) are added up."""
    replicas: dict[str, Series] = defaultdict(dict)
    for index, series in enumerate(result):
        replica = replicas[_instance(series.get("metric", {}))]
        for place, sample in enumerate(series.get("values", ())):
            stamp, value = _sample(sample, f"{name}: data.result[{index}].values[{place}]")
            if not math.isnan(value):
                replica[stamp] = replica.get(stamp, 0.0) + value
    return dict(replicas)


def _instance(labels: dict[str, str]) -> str:
    named = next((labels[label] for label in NAMING if label in labels), None)
    return named or json.dumps({key: labels[key] for key in sorted(labels) if key != "__name__"})


def _sample(sample: Any, place: str) -> tuple[float, float]:
    try:
        stamp, value = sample
        return float(stamp), float(value)
    except (TypeError, ValueError) as error:
        raise BenchError(f'{place} is {sample!r}, not [time, "number"]; {ASK}') from error


def _zero_runs(series: Series, step_s: float) -> list[tuple[float, float]]:
    """Maximal runs of zero samples; each sample stands for the step that it begins."""
    runs: list[tuple[float, float]] = []
    for stamp in sorted(stamp for stamp, value in series.items() if value == 0):
        if runs and stamp - runs[-1][1] < step_s / 2:
            runs[-1] = (runs[-1][0], stamp + step_s)
        else:
            runs.append((stamp, stamp + step_s))
    return runs


def _packed(samples: Sequence[Series], limit: int) -> float:
    """Share of replica samples not needed if each moment's requests were packed, `limit` to a replica."""
    moments: dict[float, list[float]] = defaultdict(list)
    for series in samples:
        for stamp, value in series.items():
            moments[stamp].append(value)
    needed = sum(min(len(each), math.ceil(sum(each) / limit)) for each in moments.values())
    return 1.0 - needed / sum(len(each) for each in moments.values())
