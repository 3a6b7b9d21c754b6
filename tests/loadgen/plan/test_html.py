"""The HTML report: well-formed charts, every routing, nothing fetched."""

import re
from xml.etree import ElementTree

from valve_loadgen.plan.fleet import Plan, plan
from valve_loadgen.plan.html import html
from valve_loadgen.plan.inputs import Traffic
from valve_loadgen.plan.observed import Observed, outcome

from .planned import OPTIONS, planned


def charts(told: Plan) -> list[ElementTree.Element]:
    document = html(told, "valve plan x.csv --replicas 4")
    assert "http" not in document
    assert "valve plan x.csv --replicas 4" in document
    return [ElementTree.fromstring(each) for each in re.findall(r"<svg.*?</svg>", document, re.S)]


def texts(told: Plan) -> set[str | None]:
    return {text.text for chart in charts(told) for text in chart.iter("text")}


def test_a_long_tail_shows_every_routing() -> None:
    told = planned([0.5, 0.1])
    assert len(charts(told)) == 6
    assert {"balanced", "least loaded", "dedicated", "pack first", "this plan"} <= texts(told)


def test_one_deployment_hides_dedicated_which_is_the_same() -> None:
    assert "dedicated" not in texts(planned([0.5]))


def test_monitoring_alone_is_shown_too() -> None:
    seen = Observed(outcome([(0, 0.0, 30.0)]), ["a", "b"], 100.0, 200.0, 120.0)
    assert "observed" in texts(plan(Traffic(observed=seen), OPTIONS))
