"""The command line: every documented command exists, and wrong use ends with one line."""

import re
from pathlib import Path

import pytest

from valve_sidecar.cli import main

ROOT = Path(__file__).resolve().parents[2]


def documented_commands() -> set[str]:
    """`valve X` wherever a page for users says it."""
    pages = [ROOT / "README.md", ROOT / "ARCHITECTURE.md", *(ROOT / "docs").glob("*.md")]
    return {name for page in pages for name in re.findall(r"`?\bvalve (\w+)", page.read_text())}


def known_commands(capsys: pytest.CaptureFixture[str]) -> set[str]:
    with pytest.raises(SystemExit):
        main(["--help"])
    return set(re.findall(r"^ {4}(\w+)", capsys.readouterr().out, re.MULTILINE))


def test_every_command_is_documented(capsys: pytest.CaptureFixture[str]) -> None:
    commands = {"serve", "run", "status", "top", "events", "doctor", "version", "bench"}
    assert commands == known_commands(capsys)
    assert known_commands(capsys) <= documented_commands()


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["version"]) == 0
    assert re.match(r"\d+\.\d+\.\d+", capsys.readouterr().out)


def test_errors_are_one_line_and_an_exit_code(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    code = main(["serve", "--upstream", "ftp://engine:1", "--runtime-dir", str(tmp_path)])
    assert code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("valve serve: ")


def test_run_without_a_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--"]) == 2
    assert "valve run -- CMD" in capsys.readouterr().err


def test_a_gpu_that_is_not_there_is_named(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    code = main(["run", "--gpu", "0,77", "--runtime-dir", str(tmp_path), "--", "true"])
    assert code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "no such device: '" in line
    assert "this machine has cpu" in line
