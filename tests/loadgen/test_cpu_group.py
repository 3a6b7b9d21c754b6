"""The cgroups that limit processor time."""

import subprocess
from pathlib import Path

import pytest

from valve_loadgen import cpu_group
from valve_loadgen.cpu_group import limited, quota
from valve_loadgen.errors import BenchError


def version_2(root: Path) -> Path:
    (root / "cgroup.subtree_control").write_text("cpu\n")
    return root


def test_a_quota_is_a_share_of_each_period_in_both_versions() -> None:
    assert quota(0.25) == {"cpu.max": "1250 5000", "cpu.cfs_period_us": "5000", "cpu.cfs_quota_us": "1250"}


def test_two_groups_may_live_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpu_group, "ROOTS", (version_2(tmp_path),))
    with limited("a", quota(0.5)) as first, limited("b", quota(0.5)) as second:
        groups = [path for path in tmp_path.iterdir() if path.is_dir()]
        for prefix in (first, second):
            subprocess.run([*prefix, "true"], check=True)
        assert all((group / "cgroup.procs").read_text().strip().isdigit() for group in groups)
        for group in groups:
            (group / "cgroup.procs").unlink()  # a real cgroup's files do not hold it back
    assert [path for path in tmp_path.iterdir() if path.is_dir()] == []


def test_without_a_controller_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpu_group, "ROOTS", (tmp_path,))
    with pytest.raises(BenchError, match="no writable cgroup"), limited("a", quota(1)):
        pass
