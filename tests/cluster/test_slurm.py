"""The Slurm example on a real cluster of one node: a job that is a tenant, stopped and cancelled."""

import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.integration.stage import Request, Sidecar, Stage, status

from .chart import ROOT
from .slurm import PATIENCE_S, Slurm, missing, started

SCRIPT = ROOT / "deploy/examples/slurm/batch.sbatch"
COUNT = """
import signal, time

def save(*_):
    print("saved", flush=True)
    raise SystemExit(3)

signal.signal(signal.SIGTERM, save)
while True:
    print("computing", flush=True)
    time.sleep(0.01)
"""

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing() or "")


@pytest.fixture
def stage() -> Iterator[Stage]:
    with tempfile.TemporaryDirectory(prefix="valve-slurm-", dir="/dev/shm") as folder:
        stage = Stage(Path(folder))
        yield stage
        stage.close()


@pytest.fixture
def slurm(stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Slurm]:
    """Its jobs find `valve`, and the runtime directory."""
    monkeypatch.setenv("VALVE_RUNTIME_DIR", str(stage.runtime_dir))
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    with started(tmp_path) as slurm:
        until(lambda: "idle" in slurm.ask("sinfo", "--noheader", "--format=%t"), "the node is up")
        yield slurm


def until(condition: Callable[[], object], what: str) -> None:
    end_s = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end_s, f"not within {PATIENCE_S} s: {what}"
        time.sleep(0.05)


def tenant(stage: Stage, job: str) -> str:
    """Its state; empty if there is none."""
    rows = status(stage.runtime_dir)["tenants"]
    return next((str(row["state"]) for row in rows if row["alive"] and row["job"] == f"slurm-{job}"), "")


def hold(sidecar: Sidecar) -> Request:
    request = Request(sidecar.listen)
    request.wait_first_token()
    return request


def test_a_job_is_a_tenant(stage: Stage, slurm: Slurm, tmp_path: Path) -> None:
    sidecar, output = stage.sidecar(), tmp_path / "output"
    job = slurm.submit(SCRIPT, output, sys.executable, "-c", COUNT)
    until(lambda: tenant(stage, job) == "running", "the job runs")
    request = hold(sidecar)
    until(lambda: tenant(stage, job) == "stopped", "the job is stopped")
    slurm.ask("scancel", job)
    until(lambda: "SIGTERM may have to wait" in output.read_text(), "the job is told")
    assert tenant(stage, job) == "stopped"
    stage.engine.release.set()
    request.wait_done()
    until(lambda: slurm.state(job) == "CANCELLED", "the job is cancelled")
    until(lambda: tenant(stage, job) == "", "its tenant is gone")
    assert output.read_text().endswith("saved\n"), "once, and it could end by itself"


def test_the_exit_code_is_the_commands(stage: Stage, slurm: Slurm, tmp_path: Path) -> None:
    stage.sidecar()
    job = slurm.submit(SCRIPT, tmp_path / "output", sys.executable, "-c", "raise SystemExit(7)")
    until(lambda: slurm.state(job) == "FAILED", "the job has failed")
    assert "ExitCode=7:0" in slurm.ask("scontrol", "show", "job", job)
