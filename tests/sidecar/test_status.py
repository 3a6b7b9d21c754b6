"""One screen of who holds what and who is stopped, from a real segment."""

from pathlib import Path
from typing import Any

import pytest

from valve_runtime import native
from valve_runtime.errors import SegmentError
from valve_runtime.ledger import Ledger, Party
from valve_runtime.node import Holder, Node, Side, Tenant
from valve_sidecar.status import TROUBLE, read_status, render_status

GPU = "GPU-fa000000-0000-0000-0000-000000000007"


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


def row(job: str, pid: int, runner_pid: int = 0, **counters: int) -> dict[str, Any]:
    names = {"job": job, "pid": pid, "runner_pid": runner_pid, "alive": True, "state": "running", "rank": 0}
    zeros = dict.fromkeys((*TROUBLE, "processes", "channels", "stops"), 0)
    told = {"mechanism": "channels", "devices": ("GPU-0",), "tokens": None, "layout": native.LAYOUT}
    return names | told | zeros | counters


def test_ranks_stand_below_their_job() -> None:
    rows = [row("b", 20, runner_pid=2), row("a", 10, runner_pid=1), row("a", 1), row("b", 2)]
    text = render_status({"runtime_dir": "/run/valve", "holders": [], "tenants": rows, "memory": []})
    jobs = [line.split("  0 ")[0].rstrip() for line in text.splitlines() if "channels" in line]
    assert jobs == ["a", "  a", "b", "  b"]


def test_a_rank_whose_runner_is_gone_is_shown_too() -> None:
    rows = [row("a", 10, runner_pid=1, refusals=2, unknown=1, held=3, channels=8)]
    text = render_status({"runtime_dir": "/run/valve", "holders": [], "tenants": rows, "memory": []})
    for shown in ("refusals 2", "unknown 1", "held 3", " 8 "):
        assert shown in " ".join(text.split())


def test_a_damaged_segment_is_named(tmp_path: Path) -> None:
    (tmp_path / "holders").write_bytes(b"not ours")
    with pytest.raises(SegmentError, match="holders"):
        read_status(tmp_path)


def test_shared_memory_and_its_pools(tmp_path: Path) -> None:
    with Node.open(tmp_path, Side.HOLDER), Ledger.open(tmp_path, GPU) as ledger:
        online = Party.register(ledger, "online", "chat", 1024, start_pages=512)
        tenant = Party.register(ledger, "tenant", "batch", 1024)
        tenant.lease(256)
        text = " ".join(render_status(read_status(tmp_path)).split())
        assert f"KV memory of {GPU}, GiB: online 0.0, tenants 0.5, free 1.5 of 2.0" in text
        assert "reserved for online 1.0" in text
        assert "batch tenant" in text
        online.release()
        tenant.release()
