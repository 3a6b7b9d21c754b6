"""Which baselines there are, and how their processes are started."""

import subprocess
from pathlib import Path

import pytest

from valve_loadgen import baselines, cpu_group
from valve_loadgen.baselines import BASELINES, availability, choose, prepared
from valve_loadgen.errors import BenchError


def output_of(command: list[str]) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_known_ones_are_chosen_in_order() -> None:
    assert [each.name for each in choose(["sched_idle", "nice"])] == ["sched_idle", "nice"]
    assert BASELINES["nice"].arm == "shared_nice"


def test_unknown_and_unavailable_ones_are_refused() -> None:
    with pytest.raises(BenchError, match="no baseline 'magic'; there are nice, sched_idle"):
        choose(["magic"])
    with pytest.raises(BenchError, match="mps is not available: needs a GPU"):
        choose(["mps"])
    assert availability()["mps"] == baselines.NO_GPU


@pytest.mark.parametrize(("name", "field", "value"), [("nice", 18, "19"), ("sched_idle", 40, "5")])
def test_the_prefix_demotes_what_follows(name: str, field: int, value: str) -> None:
    """Fields 19 and 41 of /proc/self/stat: nice, and the scheduling policy (SCHED_IDLE is 5)."""
    with prepared(choose([name])) as prefixes:
        told = output_of([*prefixes[name], "cat", "/proc/self/stat"])
    assert told.split()[field] == value


def cgroup_v2(root: Path) -> Path:
    (root / "cgroup.subtree_control").write_text("cpuset cpu io\n")
    return root


def test_a_cgroup_of_least_weight_is_made_entered_and_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = cgroup_v2(tmp_path)
    monkeypatch.setattr(cpu_group, "ROOTS", (root,))
    with prepared(choose(["cgroup"])) as prefixes:
        (group,) = (path for path in root.iterdir() if path.is_dir())
        assert output_of([*prefixes["cgroup"], "echo", "run"]) == "run\n"
        assert (group / "cgroup.procs").read_text().strip().isdigit()
        (group / "cgroup.procs").unlink()  # a real cgroup's files do not hold it back
    assert not group.exists()


def test_without_a_cpu_controller_there_is_no_cgroup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cgroup.subtree_control").write_text("memory\n")
    monkeypatch.setattr(cpu_group, "ROOTS", (tmp_path,))
    assert "no writable cgroup" in (availability()["cgroup"] or "")
