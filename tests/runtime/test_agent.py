"""The agent's freezer where the cgroup fails it, and the agent of a GPU job."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from valve_runtime import native
from valve_runtime.agent import FreezerAgent, JobAgent
from valve_runtime.node import Holder, Node, Side, Tenant
from valve_runtime.shim import Unshimmed
from valve_runtime.tree import Process

GPU = "GPU-00112233-4455-6677-8899-aabbccddeeff"


def test_without_its_cgroup_the_tree_is_stopped_by_signals(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with Node.open(tmp_path, Side.TENANT) as node:
        agent = FreezerAgent(Tenant.register(node, "job", 0, ("cpu",)), tmp_path / "nowhere", 0)
        try:
            agent.wait_ready()
            assert [view.mechanism for view in node.tenants()] == ["freezer_signal"]
        finally:
            agent.stop()
    assert f"cannot use {tmp_path / 'nowhere'}: No such file or directory" in capfd.readouterr().err


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    with Node.open(tmp_path, Side.TENANT) as opened:
        yield opened


@pytest.fixture
def agent(node: Node) -> Iterator[JobAgent]:
    made = JobAgent(node, Tenant.register(node, "job", 0, (GPU,)), None, 0)
    made.wait_ready()
    try:
        yield made
    finally:
        made.stop()


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[Holder]:
    with Node.open(tmp_path, Side.HOLDER) as opened:
        yield Holder.register(opened, "proxy", (GPU,))


def make_rank(node: Node) -> native.TenantRow:
    """A row of this process's that says that it is a rank of this process's job, and stopped for good."""
    index = Tenant.register(node, "job", 0, (GPU,)).row
    row: native.TenantRow = native.library().node_tenants(node.opened()).contents.rows[index]
    row.runner_pid = os.getpid()
    row.mechanism, row.state, row.ack_level, row.ack_generation = 4, 2, 2, 1000
    return row


def close_and_see(node: Node, holder: Holder) -> tuple[str, str]:
    """(mechanism, level) of the job's own stop."""
    end_s = time.monotonic() + 20
    holder.close_gate()
    while (own := node.tenants()[0]).state != "stopped":
        assert time.monotonic() < end_s
        time.sleep(0.001)
        holder.renew()
    return own.mechanism, own.ack_level


@pytest.mark.usefixtures("agent")
def test_without_ranks_a_job_is_frozen(node: Node, holder: Holder) -> None:
    assert close_and_see(node, holder) == ("freezer_signal", "submission_stopped")


@pytest.mark.usefixtures("agent")
def test_ranks_stop_a_job(node: Node, holder: Holder) -> None:
    make_rank(node)
    assert close_and_see(node, holder) == ("channels", "compute_halted")


def test_what_is_unshimmed_freezes_a_job(
    node: Node, agent: JobAgent, holder: Holder, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[list[Process], list[int]]] = []

    def look(_: Unshimmed, members: list[Process], ranks: Iterator[int]) -> tuple[Process, ...]:
        seen.append((members, list(ranks)))
        return (Process(1, 1),)

    make_rank(node)
    monkeypatch.setattr(Unshimmed, "look", look)
    members = [Process(os.getpid(), 1)]
    agent.look_for_unshimmed(members)
    assert seen == [(members, [os.getpid()])]
    assert close_and_see(node, holder) == ("freezer_signal", "submission_stopped")
