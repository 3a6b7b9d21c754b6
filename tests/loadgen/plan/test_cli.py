"""`valve plan` as its user calls it."""

import json
from pathlib import Path

import pytest

from valve_sidecar.cli import main

from .runs import report


@pytest.fixture
def trace(tmp_path: Path) -> str:
    path = tmp_path / "t.csv"
    rows = "".join(f"{number * 0.7},500,100\n" for number in range(200))
    path.write_text("arrival_s,input_tokens,output_tokens\n" + rows)
    return str(path)


@pytest.fixture
def run_report(tmp_path: Path) -> str:
    (tmp_path / "report.json").write_text(json.dumps(report(1)))
    return str(tmp_path / "report.json")


def test_json_is_for_programs(trace: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", trace, "--replicas", "2", "--json", "--cooldown-ms", "50"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["gpus_saved"] == pytest.approx(2 * document["harvest_fraction"])


def test_people_get_tables_and_a_page(trace: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "plan.html"
    assert main(["plan", trace, "--replicas", "2", "--html", str(page)]) == 0
    assert "What colocation would save on 2 GPUs" in capsys.readouterr().out
    assert page.read_text().startswith("<!doctype html>")


def test_figures_of_a_measured_run_are_used(
    trace: str, run_report: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["plan", trace, "--replicas", "50", "--calibrate", run_report]) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "calibrated from" in told
    assert "offline speed while open" in told


def test_a_check_says_how_far_off(run_report: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "--check", run_report, "--calibrate", run_report, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["points"] == pytest.approx(0, abs=0.1)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--replicas", "2"], "plan what?"),
        (["TRACE"], "Say --replicas N"),
        (["TRACE", "--replicas", "2", "--routing", "best"], "routing 'best'"),
        (["TRACE", "--replicas", "2", "--engine-figures", "x"], "engine figures"),
        (["TRACE", "--check", "TRACE"], "--check REPORT needs --calibrate"),
        (["TRACE", "--replicas", "2", "--html", "/nowhere/x.html"], "cannot write /nowhere/x.html"),
    ],
)
def test_wrong_use_is_named(
    arguments: list[str], told: str, trace: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["plan", *(trace if each == "TRACE" else each for each in arguments)]) == 1
    error = capsys.readouterr().err
    assert error.startswith("valve plan: ")
    assert told in error


def test_a_share_is_at_most_all(trace: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["plan", trace, "--replicas", "2", "--keep", "1.5"])
    assert "more than all" in capsys.readouterr().err
