"""The plan told: to programs with exactly the documented keys, to people without a missing figure."""

from io import StringIO

import orjson
import pytest
from rich.console import Console

from valve_loadgen.plan import report
from valve_loadgen.plan.fleet import plan
from valve_loadgen.plan.inputs import Traffic
from valve_loadgen.plan.observed import Observed, outcome

from .planned import OPTIONS, planned

KEYS = {
    "gpus_saved",
    "formula",
    "harvest_fraction",
    "preemptions_per_request",
    "routing",
    "interval",
    "policies",
    "advice",
    "memory",
}


def test_the_json_has_its_keys_and_they_agree() -> None:
    told = planned([0.5, 0.1])
    document = orjson.loads(orjson.dumps(report.as_json(told)))
    assert set(document) == KEYS
    chosen = document["routing"]["dedicated"]
    for key in ("gpus_saved", "harvest_fraction", "preemptions_per_request", "interval"):
        assert document[key] == chosen[key]
    low, high = document["interval"]
    assert low <= document["gpus_saved"] <= high
    assert set(document["routing"]) == {"balanced", "least_loaded", "dedicated", "pack_first"}
    assert {each["cooldown_ms"] for each in chosen["cooldown"]} >= {0, 50, 57, 200, 1000}


def printed(told: object) -> str:
    console = Console(width=120, record=True, file=StringIO())
    console.print(told)
    return console.export_text()


def test_people_see_every_routing_the_advice_and_the_formula() -> None:
    told = planned([0.5, 0.1])
    text = " ".join(printed(report.render(told)).split())
    for part in ("balanced, round robin", "dedicated", "pack first", "Much:", "gpus_saved = replicas x"):
        assert part in text
    assert "2 deployments in 60 minutes, mean load" in text


def test_monitoring_without_requests_is_told_with_dashes() -> None:
    seen = Observed(outcome([(0, 0.0, 30.0)]), ["a", "b"], 100.0, 200.0, 120.0)
    told = plan(Traffic(observed=seen, notes=["a note"]), OPTIONS)
    text = printed(report.render(told))
    assert "What monitoring saw of 2 replicas in 100 s, for 4 replicas" in text
    assert "as observed" in text
    assert "a note" in text
    assert report.as_json(told)["preemptions_per_request"] is None


@pytest.mark.parametrize(
    ("span_s", "text"), [(86_400 * 14, "14 days"), (7200, "2 hours"), (90, "90 s"), (3500, "58.3 minutes")]
)
def test_durations_are_read_easily(span_s: float, text: str) -> None:
    assert report.duration(span_s) == text
