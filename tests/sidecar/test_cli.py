"""The command line: every documented command exists, and wrong use ends with one line."""

import re
from pathlib import Path

import pytest

from valve_runtime.run import RunOptions
from valve_sidecar import cli
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
    commands = {"serve", "run", "status", "top", "events", "doctor", "version", "bench", "plan"}
    assert commands == known_commands(capsys)
    assert known_commands(capsys) <= documented_commands()


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["version"]) == 0
    assert re.match(r"\d+\.\d+\.\d+", capsys.readouterr().out)


def test_errors_are_one_line_and_an_exit_code(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    code = main(["serve", "--upstream", "ftp://engine:1", "--runtime-dir", str(tmp_path)])
    assert code == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith("valve serve: ")


def test_run_without_a_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--"]) == 2
    assert "valve run -- CMD" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("visible", "arguments", "pinned"),
    [
        (None, [], False),
        (None, ["--gpu", "1"], True),
        ("1", [], True),
        ("1", ["--device", "cpu"], False),
        ("1", ["--gpu", "0"], True),
    ],
)
def test_a_job_sees_the_gpus_that_were_named(
    visible: str | None, arguments: list[str], pinned: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """And by their UUIDs: CUDA and NVML may count them in different orders."""
    ran: list[RunOptions] = []

    def remember(_command: list[str], options: RunOptions) -> int:
        ran.append(options)
        return 0

    monkeypatch.setattr(cli, "run", remember)
    monkeypatch.setattr(cli, "resolve", lambda names: tuple(names) or ("GPU-1",))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert main(["run", *arguments, "--runtime-dir", str(tmp_path), "--", "true"]) == 0
    assert ran[0].pinned is pinned


def run_says(capfd: pytest.CaptureFixture[str], directory: Path, *arguments: str) -> tuple[str, str]:
    """(what the command wrote, what `valve run` said); the command is `env` of a directory of its own."""
    assert main(["run", "--device", "cpu", "--runtime-dir", str(directory), *arguments]) == 0
    return capfd.readouterr()


def test_run_applies_the_preset_of_the_engine_and_says_so(
    capfd: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VLLM_NO_USAGE_STATS", "0")
    out, err = run_says(capfd, tmp_path, "--engine", "vllm", "--", "env")
    assert "VLLM_EXECUTE_MODEL_TIMEOUT_SECONDS=604800\n" in out
    assert "VLLM_NO_USAGE_STATS=0\n" in out, "what the user has set stays"
    assert "valve run: for vllm: VLLM_ENGINE_READY_TIMEOUT_S=604800" in err
    assert "VLLM_NO_USAGE_STATS" not in err


def test_run_guesses_the_engine_by_its_command(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    out, err = run_says(capfd, tmp_path, "--", "env", "--", "env", "-u", "trtllm-serve")
    assert "TRTLLM_NO_USAGE_STATS=1\n" in out
    assert "stopped for 240 s at most" in err
    out, err = run_says(capfd, tmp_path, "--max-stopped-s", "0", "--", "env", "-u", "trtllm-serve")
    assert "at most" not in err


def test_run_leaves_other_programs_alone(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    out, err = run_says(capfd, tmp_path, "--", "env")
    assert "valve run: for" not in err
    assert "VLLM_" not in out


def test_a_gpu_that_is_not_there_is_named(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    code = main(["run", "--gpu", "0,77", "--runtime-dir", str(tmp_path), "--", "true"])
    assert code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "no such device: '" in line
    assert "this machine has cpu" in line
