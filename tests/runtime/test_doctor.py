"""The doctor tries things for real, and names a mend for whatever is missing."""

import os
from pathlib import Path

import orjson
import pytest

from valve_runtime import doctor
from valve_runtime.cgroup import CgroupUnavailableError
from valve_runtime.check import Check, Verdict
from valve_runtime.node import Holder, Node, Side


def by_name(checks: list[Check]) -> dict[str, Check]:
    return {check.name: check for check in checks}


def test_on_this_machine_something_can_stop_a_tenant(tmp_path: Path) -> None:
    checks = by_name(doctor.examine(tmp_path))
    assert checks["native library"].verdict is Verdict.OK
    assert checks["node segment"].found == "0 sidecars, 0 tenants"
    assert checks["signal freezer"].verdict is Verdict.OK
    assert checks["mechanism"].verdict in (Verdict.OK, Verdict.NOTE)
    assert doctor.healthy(list(checks.values()))


def test_without_cgroups_the_mechanism_is_signals(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def refuse(_name: str) -> None:
        raise CgroupUnavailableError("cgroup v2 is not mounted")

    monkeypatch.setattr(doctor.Cgroup, "create", refuse)
    checks = by_name(doctor.examine(tmp_path))
    assert checks["cgroup freezer"].verdict is Verdict.NOTE
    assert "not mounted" in checks["cgroup freezer"].found
    assert checks["cgroup freezer"].mend
    assert "signals" in checks["mechanism"].found


def test_a_damaged_segment_is_an_error_with_a_mend(tmp_path: Path) -> None:
    (tmp_path / "holders").write_bytes(b"not ours")
    check = doctor.check_segment(tmp_path)
    assert check.verdict is Verdict.ERROR
    assert "holders" in check.found
    assert check.mend


def test_those_of_another_user_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Node.open(tmp_path, Side.HOLDER) as node:
        Holder.register(node, "sidecar", ("cpu",))
        Node.open(tmp_path, Side.TENANT).close()
        assert doctor.check_users(tmp_path).verdict is Verdict.OK
        monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
        check = doctor.check_users(tmp_path)
    assert check.verdict is Verdict.NOTE
    assert check.found.startswith(f"{os.getpid()} run as other users")


def test_nobody_is_another_user_where_there_is_no_segment(tmp_path: Path) -> None:
    assert doctor.check_users(tmp_path).verdict is Verdict.OK


@pytest.mark.parametrize(
    ("found", "said"),
    [
        ("channels (compute halted; ...)", "GPU: channels; freezer"),
        ("launch (submission stopped; ...)", "GPU: launch; freezer"),
        ("a GPU program cannot run here", "freezer"),
        ("went on in 2 of 3 stops", "freezer"),
    ],
)
def test_the_mechanism_names_what_the_self_test_found(found: str, said: str) -> None:
    cgroup, gate = Check("cgroup freezer", Verdict.OK, ""), Check("GPU gate", Verdict.NOTE, found)
    assert doctor.check_mechanism(cgroup, cgroup, [gate]).found.startswith(said)


def test_rendering() -> None:
    checks = [Check("a", Verdict.OK, "fine"), Check("b", Verdict.ERROR, "broken", "mend it")]
    assert doctor.render_checks(checks, as_json=False).splitlines()[2].strip() == "mend: mend it"
    content = orjson.loads(doctor.render_checks(checks, as_json=True))
    assert content["healthy"] is False
    assert content["checks"][1] == {"name": "b", "verdict": "error", "found": "broken", "mend": "mend it"}


def test_the_file_system_of_a_path_is_that_of_its_nearest_mount() -> None:
    assert doctor.file_system(Path("/proc/self")) == "proc"
