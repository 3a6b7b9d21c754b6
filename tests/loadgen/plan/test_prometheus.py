"""A range query: zero samples are idle gaps, missing ones are unknown, whatever is wrong is named."""

import json
from typing import Any

import pytest

from valve_loadgen.errors import BenchError
from valve_loadgen.plan import prometheus
from valve_loadgen.plan.observed import Observed


def export(*series: tuple[dict[str, str], list[Any]], kind: str = "matrix") -> str:
    result = [
        {"metric": {"__name__": "vllm:num_requests_running", **labels}, "values": v} for labels, v in series
    ]
    return json.dumps({"status": "success", "data": {"resultType": kind, "result": result}})


def samples(text: str, step_s: int = 15) -> list[tuple[float, str]]:
    return [(1e9 + step_s * place, value) for place, value in enumerate(text.split()) if value != "-"]


def gaps(observed: Observed) -> list[tuple[int, float, float]]:
    told = observed.gaps
    return list(zip(told.gap_replica, told.gap_start, told.gap_end, strict=True))


def test_runs_of_zeros_are_gaps() -> None:
    text = export(
        ({"instance": "a:8000"}, samples("0 0 3 0 1 1")), ({"instance": "b:8000"}, samples("2 2 2 2 0 0"))
    )
    assert prometheus.looks_like(text)
    observed = prometheus.read(text, "p.json", 4)
    assert gaps(observed) == [(0, 0.0, 30.0), (0, 45.0, 60.0), (1, 60.0, 90.0)]
    assert (observed.span_s, observed.replica_s, observed.sampled_s) == (90.0, 180.0, 15.0)
    assert observed.names == ["a:8000", "b:8000"]
    assert observed.in_flight_s == 15.0 * 13
    assert observed.packed_fraction == pytest.approx(1 - (1 + 1 + 2 + 1 + 1 + 1) / 12)


def test_missing_samples_break_a_gap_and_are_not_observed() -> None:
    observed = prometheus.read(export(({"instance": "a"}, samples("0 - - 0 0 NaN"))), "p.json", 4)
    assert gaps(observed) == [(0, 0.0, 15.0), (0, 45.0, 75.0)]
    assert observed.replica_s == 3 * 15.0


def test_series_of_one_instance_are_added_up() -> None:
    text = export(
        ({"instance": "a", "engine": "0"}, samples("0 0 1")),
        ({"instance": "a", "engine": "1"}, samples("0 2 0")),
    )
    observed = prometheus.read(text, "p.json", 4)
    assert gaps(observed) == [(0, 0.0, 15.0)]
    assert len(observed.names) == 1


def test_without_an_instance_the_labels_tell_replicas_apart() -> None:
    text = export(({"replica": "1"}, samples("0 1")), ({"replica": "2"}, samples("0 1")))
    assert len(prometheus.read(text, "p.json", 4).names) == 2


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{", "not a JSON document"),
        (json.dumps({"status": "error", "error": "bad query", "data": {}}), "bad query"),
        (export(kind="vector"), "a range query is needed"),
        (json.dumps({"status": "success", "data": []}), "a range query is needed"),
        (export(), "no series"),
        (export(({"instance": "a"}, samples("0"))), "fewer than two samples"),
        (export(({"instance": "a"}, [[1, "0"], [2, "x"]])), r"data.result\[0\].values\[1\] is \[2, 'x'\]"),
        (export(({"instance": "a"}, [[1, "0"], 7])), r"values\[1\] is 7"),
    ],
)
def test_what_is_wrong_is_named(text: str, told: str) -> None:
    with pytest.raises(BenchError, match=r"p\.json: .*" + told):
        prometheus.read(text, "p.json", 4)
