"""The wheel where users install it: in an empty environment, and beside an engine's packages."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
import zipfile
from pathlib import Path

import httpx
import pytest
from tests.integration.stage import ScriptedEngine

from .environment import Environment, wheel

# An engine's environment in small: older versions of what we need, too.
OLDER = ("aiohttp==3.13.2", "httpx==0.27.2", "orjson==3.10.18", "prometheus-client==0.20.0")


@pytest.fixture
def runtime_dir(tmp_path: Path) -> Path:
    folder = tmp_path / "run"
    folder.mkdir(mode=0o700)
    return folder


def test_it_carries_everything_but_tests() -> None:
    with zipfile.ZipFile(wheel()) as archive:
        names = set(archive.namelist())
        files = archive.infolist()
    programs = {Path(each.filename).name for each in files if each.external_attr >> 16 & 0o111}
    assert {"valve_runtime/libvalve.so", "valve_runtime/libvalve_preload.so"} <= names
    assert {"valve_sidecar/page.html", "valve_loadgen/data/azure2023_code_slice.csv"} <= names
    assert {"http_backend", "http_client", "valve_exact_mock"} <= programs
    assert any(name.endswith("data/share/valve/systemd/valve.service") for name in names)
    ours = ("valve_sidecar", "valve_runtime", "valve_adapters", "valve_loadgen")
    assert {name.partition("/")[0].partition("-")[0] for name in names} == set(ours)


def test_from_pip_install_to_the_first_request(
    tmp_path: Path, engine: ScriptedEngine, runtime_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    environment = Environment.create(tmp_path / "venv")
    begin_s = time.monotonic()
    environment.install(wheel())
    with environment.serving(engine.url, runtime_dir) as address:
        assert httpx.get(f"{address}/v1/models").status_code == 200
        took_s = time.monotonic() - begin_s
    with capsys.disabled():
        print(f"\npip install to first proxied request: {took_s:.1f} s")  # a promise: less than 60 when idle
    assert environment.run("valve", "run", "--runtime-dir", runtime_dir, "--", "echo", "done") == "done\n"
    assert "--rate" in environment.run("valve", "bench", "self-check", "--help")


def test_an_engines_environment_stays_as_it_was(
    tmp_path: Path, engine: ScriptedEngine, runtime_dir: Path
) -> None:
    environment = Environment.create(tmp_path / "venv")
    environment.install(*OLDER)
    environment.install("--no-deps", "adapters")
    before = environment.files()
    environment.install(wheel())
    check_beside(environment, before)
    with environment.serving(engine.url, runtime_dir) as address:
        assert httpx.get(f"{address}/v1/models").status_code == 200


@pytest.mark.slow
def test_vllms_environment_stays_as_it_was(tmp_path: Path) -> None:
    """The engines of `make engines`, linked and not copied: pip never writes into a file that is there."""
    original = Path(os.environ.get("VALVE_ENGINES", ".cache/engines"), "venv")
    if not original.exists():
        pytest.skip("no engines here: make engines")
    subprocess.run(["cp", "-al", original, tmp_path / "venv"], check=True)
    environment = Environment(tmp_path / "venv")
    before = environment.files()
    environment.install(wheel())
    check_beside(environment, before)
    environment.run("python", "-c", "import vllm, valve_runtime.run")
    shutil.rmtree(environment.folder)


def check_beside(environment: Environment, before: dict[str, str]) -> None:
    after = environment.files()
    assert {path: after.get(path) for path in before} == before
    assert any(path.endswith("bin/valve") for path in after.keys() - before.keys())
    check = [environment.bin / "pip", "check"]
    problems = subprocess.run(check, stdout=subprocess.PIPE, text=True, check=False).stdout
    assert "valve-sidecar" not in problems
