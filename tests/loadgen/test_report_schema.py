"""Reports against the schemas in docs/report.md."""

import re
from pathlib import Path
from typing import Any

import orjson
import pytest
from jsonschema import Draft202012Validator

from valve_loadgen.colocate_page import html
from valve_loadgen.cpus import available
from valve_loadgen.exact_mock import exact_mock
from valve_loadgen.load_run import LoadRun, load_run
from valve_loadgen.patterns import Pattern
from valve_loadgen.requests_csv import COLUMNS
from valve_loadgen.screen import Screen
from valve_loadgen.slo import Slo
from valve_loadgen.workload import Span, Workload

PAGE = Path(__file__).parents[2] / "docs/report.md"
RESULTS = PAGE.parent / "results"


def schemas() -> dict[str, Draft202012Validator]:
    """The JSON blocks of the page, by title."""
    blocks = [orjson.loads(block) for block in re.findall(r"```json\n(.*?)```", PAGE.read_text(), re.DOTALL)]
    for block in blocks:
        Draft202012Validator.check_schema(block)
    return {block["title"]: Draft202012Validator(block) for block in blocks}


def problems(title: str, report: dict[str, Any]) -> list[str]:
    return [f"{error.json_path}: {error.message}" for error in schemas()[title].iter_errors(report)]


async def test_a_real_run_is_as_described_and_leaves_its_files(tmp_path: Path) -> None:
    workload = Workload(0.5, Pattern("constant", 20.0), output_tokens=Span(4, 4))
    with exact_mock(frozenset(available()), ttft_ms=4.0, gap_ms=1.0, tokens=4) as mock:
        run = LoadRun(mock.target, workload, slo=Slo.parse("ttft_ms=1000"), check=False)
        report = await load_run(run, tmp_path, Screen(1, quiet=True))
    assert problems("run", report) == []
    assert report["requests"] == {"counted": 10, "completed": 10, "cancelled": 0, "failed": 0}
    assert (report["model"], report["goodput"]["fraction"]) == ("exact-mock", 1.0)
    assert orjson.loads((tmp_path / "report.json").read_bytes()) == report
    lines = (tmp_path / "requests.csv").read_text().splitlines()
    assert lines[0] == ",".join(COLUMNS)
    assert len(lines) == 11
    assert (tmp_path / "report.html").read_text().startswith("<!doctype html>")


@pytest.mark.skipif(not RESULTS.is_dir(), reason="source archives carry no results")
def test_recorded_runs_are_as_described() -> None:
    checks = orjson.loads((RESULTS / "2026-11-25-selfcheck/report.json").read_bytes())["runs"]
    assert [problems("self-check", each["report"]) for each in checks] == [[]] * len(checks)
    colocation = orjson.loads((RESULTS / "2026-11-25-baselines/report.json").read_bytes())
    assert problems("colocate", colocation) == []
    assert html(colocation).count("<svg") == 10


@pytest.mark.parametrize("title", ["self-check", "run", "colocate"])
def test_a_report_without_its_figures_is_not_as_described(title: str) -> None:
    assert any("'valid' is a required property" in problem for problem in problems(title, {}))
