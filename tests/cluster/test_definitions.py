"""Objects of other projects' kinds, in the examples and the chart, against those projects' definitions.

definitions/ has them, without what no schema can say; its prune.py says where each is from.
"""

import json
from collections.abc import Iterator
from pathlib import Path

import jsonschema
import kubernetes_validate
import pytest
import yaml

from .chart import ROOT, Object, rendered
from .test_chart import EVERYTHING, VERSIONS

DEFINITIONS = Path(__file__).parent / "definitions"
VALUES = ROOT / "deploy/examples/llm-d-async/values.yaml"  # of a chart, no object


def objects() -> Iterator[Object]:
    for file in sorted((ROOT / "deploy/examples").rglob("*.yaml")):
        if file != VALUES and file.parent.name != "envoy":
            yield from (each for each in yaml.safe_load_all(file.read_text()) if each)
    yield from rendered(EVERYTHING)


def complaints(each: Object) -> list[str]:
    schema = json.loads((DEFINITIONS / f"{each['kind']}.json").read_text())
    return [error.message for error in jsonschema.Draft202012Validator(schema).iter_errors(each)]


def defined() -> list[Object]:
    return [each for each in objects() if (DEFINITIONS / f"{each['kind']}.json").exists()]


@pytest.mark.parametrize("each", defined(), ids=lambda each: each["kind"])
def test_it_is_as_its_project_defines_it(each: Object) -> None:
    assert complaints(each) == []


def test_each_definition_is_needed_and_all_else_is_of_kubernetes() -> None:
    theirs = {each["kind"] for each in defined()}
    assert theirs == {file.stem for file in DEFINITIONS.glob("*.json")}
    for each in objects():
        if each["kind"] not in theirs:
            kubernetes_validate.validate(each, VERSIONS[0], strict=True)


@pytest.mark.parametrize("each", defined(), ids=lambda each: each["kind"])
def test_a_field_that_is_not_there_is_found(each: Object) -> None:
    part = each["spec"] | {"noSuchField": 1}
    assert any("noSuchField" in told for told in complaints(each | {"spec": part}))
