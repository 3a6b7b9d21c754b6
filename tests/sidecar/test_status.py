"""One screen of who holds what and who is stopped, from a real segment."""

from pathlib import Path

import pytest

from valve_runtime.errors import SegmentError
from valve_runtime.node import Holder, Node, Side, Tenant
from valve_sidecar.status import read_status, render_status


def test_nothing_has_run_here_yet(tmp_path: Path) -> None:
    text = render_status(read_status(tmp_path))
    assert "no sidecar: start one with `valve serve" in text
    assert "no tenant: start one with `valve run" in text


def test_sidecars_and_tenants(tmp_path: Path) -> None:
    with Node.open(tmp_path, Side.HOLDER) as holders, Node.open(tmp_path, Side.TENANT) as tenants:
        holder = Holder.register(holders, "http://127.0.0.1:8000#0", ["cpu"])
        holder.close_gate()
        Tenant.register(tenants, "nightly-batch", 0, ["cpu"])
        status = read_status(tmp_path)
        text = render_status(status)
    assert status["holders"][0]["closed"] is True
    assert status["tenants"][0]["job"] == "nightly-batch"
    assert "http://127.0.0.1:8000#0" in text
    assert "closed" in text
    assert "nightly-batch" in text


def test_a_damaged_segment_is_named(tmp_path: Path) -> None:
    (tmp_path / "holders").write_bytes(b"not ours")
    with pytest.raises(SegmentError, match="holders"):
        read_status(tmp_path)
