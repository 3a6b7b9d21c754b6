"""The parts of `valve run` that need no process; the rest is in tests/integration/test_run_*.py."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from valve_runtime import run as runs
from valve_runtime.cgroup import CgroupUnavailableError
from valve_runtime.errors import SegmentError, TenantError
from valve_runtime.record import folder
from valve_runtime.run import RunOptions, run


def test_a_job_may_have_any_name(tmp_path: Path) -> None:
    record = runs._describe("../é x/" + "y" * 99, tmp_path, None)
    assert record.path.parent == folder(tmp_path)
    assert record.path.name.startswith(".._")
    assert len(record.path.name.encode()) < 255
    assert runs._describe("a", tmp_path, None).job_id != runs._describe("a", tmp_path, None).job_id


def test_only_a_gpu_job_has_something_for_the_shim(tmp_path: Path) -> None:
    gpu = "GPU-00112233-4455-6677-8899-aabbccddeeff"
    assert runs._order("job", RunOptions("job", ("cpu",), 0, tmp_path)) is None
    order = runs._order("job", RunOptions("job", (gpu,), 0, tmp_path))
    assert order is not None
    assert (order.runtime_dir, order.job, order.runner_pid) == (tmp_path, "job", os.getpid())
    assert order.devices == (gpu,)


def test_a_missing_runtime_directory_is_named(tmp_path: Path) -> None:
    with pytest.raises(SegmentError, match=str(tmp_path / "nowhere")):
        run(["true"], RunOptions(None, ("cpu",), 0, tmp_path / "nowhere"))


def test_signals_are_held_back_and_given_back() -> None:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    with runs._blocked_signals() as (signals, mask):
        assert mask == before
        assert signal.SIGTERM in signals
        # Meant for the tree: it must not end us afterwards. To this thread, or another one may take it.
        signal.pthread_kill(threading.get_ident(), signal.SIGTERM)
        assert signal.SIGTERM in signal.sigpending()
    assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == before


def test_ignored_signals_are_not_waited_for() -> None:
    old = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with runs._blocked_signals() as (signals, _):
            assert signal.SIGHUP not in signals
    finally:
        signal.signal(signal.SIGHUP, old)


def test_without_a_cgroup_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> Path:
        raise CgroupUnavailableError("not here")

    monkeypatch.setattr("valve_runtime.cgroup.own_cgroup", refuse)
    with runs._cgroup("job") as cgroup:
        assert cgroup is None


def test_where_pids_mean_others_nothing_is_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "proc_is_ours", lambda: False)
    with pytest.raises(TenantError, match="--mount-proc"):
        run(["true"], RunOptions(None, ("cpu",), 0, tmp_path))


def test_a_period_has_one_number_from_its_first_stop_to_its_end() -> None:
    """(state, acknowledgements, stops) as the agent writes them, with somebody else's SIGCONT in between."""
    states = [
        ("running", 2, 1), ("stopping", 2, 1), ("stopped", 3, 2), ("stopping", 3, 2), ("stopped", 3, 2),
        ("stopping", 3, 2), ("running", 4, 2), ("stopping", 4, 2), ("running", 5, 2), ("stopping", 5, 2),
    ]  # fmt: skip
    rows: list[Any] = []
    anything: Any = SimpleNamespace(tenants=lambda: rows, row=7)
    seat: Any = SimpleNamespace(node=anything, tenant=anything)
    job = runs._TenantRun(seat, None, anything)
    numbers = []
    for state, acknowledgements, stops in states:
        rows[:] = [SimpleNamespace(row=7, state=state, acknowledgements=acknowledgements, stops=stops)]
        numbers.append(job.stop_period())
    assert numbers == [0, 2, 2, 2, 2, 2, 0, 3, 0, 4]
