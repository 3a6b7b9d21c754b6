"""Finding our cgroup in every layout, and what is left in it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from valve_runtime import cgroup as cgroups
from valve_runtime.cgroup import Cgroup, CgroupUnavailableError, is_tenants, locate, own_cgroup
from valve_runtime.namespace import own_pid_namespace

PURE = "29 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw\n"
HYBRID = (
    "37 31 0:34 / /sys/fs/cgroup/freezer rw,relatime - cgroup cgroup rw,freezer\n"
    "41 31 0:38 / /sys/fs/cgroup/unified rw,relatime shared:9 - cgroup2 cgroup2 rw\n"
)
BOUND = "99 98 0:26 /docker/ab\\040c /sys/fs/cgroup ro,nosuid - cgroup2 cgroup rw\n"


@pytest.mark.parametrize(
    ("mountinfo", "membership", "expected"),
    [
        (PURE, "0::/user.slice/a.scope\n", "/sys/fs/cgroup/user.slice/a.scope"),
        (PURE, "0::/\n", "/sys/fs/cgroup"),
        (HYBRID, "9:name=systemd:/x\n4:memory:/y\n0::/\n", "/sys/fs/cgroup/unified"),
        (BOUND, "0::/docker/ab c/inner\n", "/sys/fs/cgroup/inner"),
    ],
)
def test_our_cgroup_is_found_in_every_layout(mountinfo: str, membership: str, expected: str) -> None:
    assert locate(mountinfo, membership) == Path(expected)


@pytest.mark.parametrize(
    ("mountinfo", "membership", "reason"),
    [
        (HYBRID, "4:memory:/y\n", "no cgroup v2"),
        ("37 31 0:34 / /x rw - cgroup cgroup rw,freezer\n", "0::/\n", "not mounted"),
        (BOUND, "0::/docker/other\n", "outside of the mounted part"),
        (PURE, "0::/../sibling\n", "outside of the mounted part"),
    ],
)
def test_an_unreachable_cgroup_is_unavailable(mountinfo: str, membership: str, reason: str) -> None:
    with pytest.raises(CgroupUnavailableError, match=reason):
        locate(mountinfo, membership)


@pytest.fixture
def made() -> Iterator[Cgroup]:
    try:
        cgroup = Cgroup.create("unit")
    except CgroupUnavailableError as error:
        pytest.skip(str(error))
    with cgroup:
        yield cgroup


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["sleep", "60"]) as process:
        yield process
        process.kill()


def test_a_frozen_member_in_a_nested_cgroup_is_killed_and_all_is_removed(
    made: Cgroup, sleeper: subprocess.Popen[bytes]
) -> None:
    nested = made.path / "nested"
    nested.mkdir()
    Cgroup(nested).add(sleeper.pid)
    assert cgroups.members(made.path) == [sleeper.pid]
    (made.path / "cgroup.freeze").write_text("1")
    cgroups.kill(made.path)
    assert sleeper.wait(20) == -9
    cgroups.remove(made.path)
    assert not made.path.exists()


@pytest.fixture
def dead_pid() -> int:
    with subprocess.Popen(["true"]) as dead:
        return dead.pid


@pytest.fixture
def orphan(dead_pid: int) -> Iterator[Cgroup]:
    """Its owner is dead."""
    try:
        cgroup = Cgroup.create("unit", dead_pid)
    except CgroupUnavailableError as error:
        pytest.skip(str(error))
    yield cgroup
    cgroups.kill(cgroup.path)
    cgroups.remove(cgroup.path)


def test_an_orphan_is_killed_frozen_as_it_is_and_removed(
    orphan: Cgroup, sleeper: subprocess.Popen[bytes]
) -> None:
    orphan.add(sleeper.pid)
    (orphan.path / "cgroup.freeze").write_text("1")
    cgroups.remove_orphans()
    assert sleeper.wait(20) == -9
    assert not orphan.path.exists()


def test_an_orphan_with_a_guardian_is_left_to_it(orphan: Cgroup) -> None:
    script = "sleep 60 > /dev/null & echo $!; wait"
    command = ["sh", "-c", script, "valve_runtime.guardian"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as guardian:
        assert guardian.stdout
        pid = int(guardian.stdout.readline())
        orphan.add(pid)
        cgroups.remove_orphans()
        assert cgroups.members(orphan.path) == [pid]
        cgroups.kill(orphan.path)


def test_another_pid_namespaces_cgroups_are_left_alone(orphan: Cgroup, dead_pid: int) -> None:
    foreign = orphan.path.with_name(f"{cgroups.PREFIX}unit-{own_pid_namespace() + 1}-{dead_pid}")
    foreign.mkdir()
    try:
        cgroups.remove_orphans()
        assert foreign.exists()
    finally:
        foreign.rmdir()


def test_a_tenants_cgroup_is_told_from_everything_else(made: Cgroup) -> None:
    root = own_cgroup()
    assert is_tenants(str(made.path))
    assert is_tenants(f"{root}/system.slice/{cgroups.PREFIX}a")
    for path in (
        "", "/", "valve-a", "sys/fs/cgroup/valve-a", str(root), f"{root}/system.slice", "/tmp/valve-a",
        f"{root}/valve-a/../../valve-b", f"{root}/valve-a/..", f"{root}/a\0/valve-a", f"{root}x/valve-a",
    ):  # fmt: skip
        assert not is_tenants(path), path


def test_where_there_is_no_freezer_none_is_left(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(cgroups, "own_cgroup", lambda: tmp_path)
    with pytest.raises(CgroupUnavailableError, match="no freezer"):
        Cgroup.create("unit")
    assert list(tmp_path.iterdir()) == []
    # A directory of the same name that cannot be removed is no other error.
    (tmp_path / f"{cgroups.PREFIX}unit-{own_pid_namespace()}-{os.getpid()}" / "in the way").mkdir(
        parents=True
    )
    with pytest.raises(CgroupUnavailableError, match="no freezer"):
        Cgroup.create("unit")


def test_a_cgroup_of_a_living_owner_is_left_alone(made: Cgroup) -> None:
    (made.path / "cgroup.freeze").write_text("1")
    cgroups.remove_orphans()
    assert (made.path / "cgroup.freeze").read_text() == "1\n"
    Cgroup.create("unit")
    assert (made.path / "cgroup.freeze").read_text() == "0\n", "a new tenant never starts in a frozen one"


def test_what_is_gone_is_no_error() -> None:
    nowhere = Path("/nonexistent/cgroup")
    cgroups.thaw(nowhere)
    cgroups.kill(nowhere)
    cgroups.remove(nowhere)
    assert cgroups.members(nowhere) == []
