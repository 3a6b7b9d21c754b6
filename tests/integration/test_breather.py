"""A tenant that may not stay stopped for long, under `valve run`: it breathes, and is stopped again."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from valve_runtime.node import Node, Side

from . import fake_gpu
from .fake_gpu import Board, victim
from .run_job import GateKeeper, Job
from .stage import wait_until

pytestmark = pytest.mark.integration
StartJob = Callable[..., Job]
SHORT = {"VALVE_TEST_MAX_STOPPED_S": "0.3"}


def kinds(job: Job) -> list[str]:
    """The acknowledgements so far."""
    with Node.open(job.directory, Side.OBSERVER) as node:
        rows = [view.row for view in node.tenants() if view.pid == job.pid]
        return [ack.kind for ack in node.acknowledgements(rows[0], 0)[0]]


def test_it_runs_for_a_moment_and_is_stopped_again(start_job: StartJob, gate: GateKeeper) -> None:
    job = start_job(env=os.environ | SHORT)
    job.wait_progress()
    gate.close_gate()
    row = job.wait_state("breathing")
    assert (row.ack_level, row.max_stopped_ns) == ("running", 300_000_000)
    job.wait_progress()
    assert job.wait_state("stopped").ack_level == "compute_halted"
    assert kinds(job)[:3] == ["stopped", "breather", "stopped"]


def test_the_gate_opens_during_a_breather(start_job: StartJob, gate: GateKeeper) -> None:
    job = start_job(env=os.environ | SHORT)
    job.wait_progress()
    gate.close_gate()
    job.wait_state("breathing")
    gate.open_gate()
    job.wait_state("running")
    job.wait_progress()
    assert kinds(job)[-1] == "resumed"


def test_without_a_limit_it_stays_stopped(start_job: StartJob, gate: GateKeeper) -> None:
    job = start_job()
    job.wait_progress()
    gate.close_gate()
    job.wait_state("stopped")
    job.assert_still()
    assert job.row().breathers == 0  # type: ignore[union-attr]


@pytest.fixture
def gpu_gate(tmp_path: Path) -> Iterator[GateKeeper]:
    keeper = GateKeeper(tmp_path, fake_gpu.GPU)
    yield keeper
    keeper.end()


def test_a_gpu_job_breathes_as_one(start_job: StartJob, gpu_gate: GateKeeper, tmp_path: Path) -> None:
    boards = [Board(tmp_path / f"board-{i}") for i in range(2)]
    command = " & ".join(" ".join(victim(board)) for board in boards) + " & wait"
    job = start_job("sh", "-c", command, env=os.environ | fake_gpu.environment() | SHORT)
    wait_until(lambda: all(board.beat() for board in boards), "both compute")
    gpu_gate.close_gate()
    job.wait_state("breathing")
    before = [board.beat() for board in boards]
    wait_until(lambda: all(b.beat() > then for b, then in zip(boards, before, strict=True)), "both breathe")
    assert job.wait_state("stopped").breathers == 1
    with Node.open(job.directory, Side.OBSERVER) as node:
        assert all(view.breathers for view in node.tenants() if view.runner_pid == job.pid)
