"""GPU jobs under `valve run`, on the fake driver: all ranks stop as one set, and the freezer takes over
where they cannot.
"""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from valve_runtime.node import Node, Side, TenantView

from . import fake_gpu
from .fake_gpu import Board, victim
from .run_job import GateKeeper, Job, wait_gone
from .stage import DEADLINE_S, wait_until

pytestmark = pytest.mark.integration
StartJob = Callable[..., Job]


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[GateKeeper]:
    keeper = GateKeeper(tmp_path, fake_gpu.GPU)
    yield keeper
    keeper.end()


@pytest.fixture
def boards(tmp_path: Path) -> list[Board]:
    return [Board(tmp_path / f"board-{i}") for i in range(2)]


def start_victims(start_job: StartJob, boards: list[Board], **environment: str) -> Job:
    """One job with a process per board."""
    command = " & ".join(shlex.join(victim(board)) for board in boards) + " & wait"
    env = os.environ | fake_gpu.environment() | environment
    job = start_job("sh", "-c", command, env=env)
    wait_until(lambda: all(board.beat() for board in boards), "all compute")
    return job


def ranks(job: Job) -> list[TenantView]:
    with Node.open(job.directory, Side.OBSERVER) as node:
        return [row for row in node.tenants() if row.alive and row.runner_pid == job.pid]


def beats(boards: list[Board]) -> list[int]:
    return [board.beat() for board in boards]


def assert_still(boards: list[Board]) -> None:
    before = beats(boards)
    time.sleep(0.05)
    assert beats(boards) == before


def wait_progress(boards: list[Board]) -> None:
    before = beats(boards)
    wait_until(
        lambda: all(now > then for now, then in zip(beats(boards), before, strict=True)), "all compute"
    )


def stop_by(job: Job, gate: GateKeeper, mechanisms: tuple[str, ...]) -> TenantView:
    """Closes until one of these did it; a rank that is scheduled late is frozen, as it should be."""
    for _ in range(200):
        gate.close_gate()
        row = job.wait_state("stopped")
        if row.mechanism in mechanisms:
            return row
        gate.open_gate()
        job.wait_state("running")
    raise AssertionError(f"never stopped by {mechanisms}")


def test_all_ranks_of_a_job_stop_as_one_set(
    start_job: StartJob, gate: GateKeeper, boards: list[Board]
) -> None:
    job = start_victims(start_job, boards)
    wait_until(lambda: len(ranks(job)) == 2, "two ranks")
    for _ in range(3):
        row = stop_by(job, gate, ("channels",))
        assert row.ack_level == "compute_halted"
        assert_still(boards)
        assert {rank.state for rank in ranks(job)} == {"stopped"}
        gate.open_gate()
        job.wait_state("running")
        wait_progress(boards)
    for board in boards:
        board.tell_to_go()
    assert job.wait()[0] == 0


def test_a_refusing_driver_leaves_the_launches_to_be_held(
    start_job: StartJob, gate: GateKeeper, boards: list[Board], tmp_path: Path
) -> None:
    switch = tmp_path / "switch"
    job = start_victims(start_job, boards, FAKE_RM_SWITCH=str(switch))
    wait_until(lambda: len(ranks(job)) == 2, "two ranks")
    switch.write_text("refuse disable=0x1b,schedule=0x56\n")
    row = stop_by(job, gate, ("launch",))
    assert row.ack_level == "submission_stopped"
    assert all(rank.refusals >= 2 and rank.mechanism == "launch" for rank in ranks(job))


def test_a_rank_that_hangs_is_frozen(
    start_job: StartJob, gate: GateKeeper, boards: list[Board], tmp_path: Path
) -> None:
    switch = tmp_path / "switch"
    job = start_victims(start_job, boards, FAKE_RM_SWITCH=str(switch))
    wait_until(lambda: len(ranks(job)) == 2, "two ranks")
    stop_by(job, gate, ("channels",))
    gate.open_gate()
    job.wait_state("running")
    before = job.row()
    assert before
    switch.write_text("delay disable=400000\n")
    row = stop_by(job, gate, ("freezer_cgroup", "freezer_signal"))
    assert row.escalations > before.escalations
    switch.write_text("")
    gate.open_gate()
    job.wait_state("running")
    wait_progress(boards)
    stop_by(job, gate, ("channels",))
    assert_still(boards)


def test_a_process_without_the_shim_is_found_and_frozen(
    start_job: StartJob, gate: GateKeeper, boards: list[Board], tmp_path: Path
) -> None:
    environment = fake_gpu.environment()
    command = ("env", f"LD_PRELOAD={environment['LD_PRELOAD']}", *victim(boards[0]))
    said = tmp_path / "said"
    with said.open("w") as stderr:
        env = os.environ | environment | {"VALVE_TEST_DEADLINE_S": "0.1"}
        job = start_job(*command, env=env, stderr=stderr)
    wait_until(lambda: boards[0].beat(), "it computes")
    row = stop_by(job, gate, ("freezer_cgroup", "freezer_signal"))
    assert row.ack_level == "submission_stopped"
    assert ranks(job) == []
    gate.open_gate()
    job.wait_state("running")
    wait_progress(boards[:1])
    wait_until(lambda: "uses a GPU without Valve's shim" in said.read_text(), "people are told")
    boards[0].tell_to_go()
    assert job.process.wait(DEADLINE_S) == 0


def test_the_fork_of_a_rank_needs_no_freezer(
    start_job: StartJob, gate: GateKeeper, boards: list[Board], tmp_path: Path
) -> None:
    """It has the rank's files and mappings and no channels, as the workers of a data loader."""
    said = tmp_path / "said"
    with said.open("w") as stderr:
        env = os.environ | fake_gpu.environment() | {"VALVE_TEST_DEADLINE_S": "0.1"}
        job = start_job(str(fake_gpu.find("family")), str(boards[0].path), "fork", env=env, stderr=stderr)
    wait_until(boards[0].is_ready, "it has forked")
    time.sleep(0.5)  # past the deadline
    row = stop_by(job, gate, ("channels",))
    assert row.ack_level == "compute_halted"
    gate.open_gate()
    boards[0].tell_to_go()
    assert job.process.wait(DEADLINE_S) == 0
    assert "without Valve's shim" not in said.read_text()


def test_a_job_that_is_killed_while_closed_leaves_nothing(
    start_job: StartJob, gate: GateKeeper, boards: list[Board]
) -> None:
    job = start_victims(start_job, boards)
    gate.close_gate()
    job.wait_state("stopped")
    processes = job.processes()
    job.kill()
    wait_gone(processes)
    wait_until(lambda: ranks(job) == [], "the last thread of each has ended")


def test_a_result_is_the_undisturbed_one(start_job: StartJob, gate: GateKeeper, boards: list[Board]) -> None:
    env: dict[str, Any] = os.environ | fake_gpu.environment()
    quiet, disturbed = boards
    assert start_job(*victim(quiet, "graphs", 2000), env=env).wait()[0] == 0
    job = start_job(*victim(disturbed, "graphs", 2000), env=env)
    wait_until(disturbed.is_ready, "it has begun")
    while job.process.poll() is None and not disturbed.is_done():
        gate.close_gate()
        time.sleep(0.005)
        gate.open_gate()
        time.sleep(0.01)
    assert job.wait()[0] == 0
    assert disturbed.result() == quiet.result()
