"""The agent's freezer where the cgroup fails it."""

from __future__ import annotations

from pathlib import Path

import pytest

from valve_runtime.agent import FreezerAgent
from valve_runtime.node import Node, Side, Tenant


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
