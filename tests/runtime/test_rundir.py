"""Which runtime directory is taken, and which is refused with a mend."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

import pytest

from valve_runtime import rundir
from valve_runtime.errors import ValveRuntimeError
from valve_runtime.rundir import choose_runtime_dir


def test_a_given_directory_wins_and_is_made_private(tmp_path: Path) -> None:
    wanted = tmp_path / "a" / "b"
    assert choose_runtime_dir(str(wanted), {"VALVE_RUNTIME_DIR": str(tmp_path / "c")}) == wanted
    assert stat.S_IMODE(wanted.stat().st_mode) == 0o700


def test_the_variable_comes_next(tmp_path: Path) -> None:
    environment = {"VALVE_RUNTIME_DIR": str(tmp_path / "c"), "XDG_RUNTIME_DIR": str(tmp_path)}
    assert choose_runtime_dir(None, environment) == tmp_path / "c"


def test_then_the_systems(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rundir, "SYSTEM", tmp_path / "run" / "valve")
    (tmp_path / "run").mkdir()
    assert choose_runtime_dir(None, {"XDG_RUNTIME_DIR": str(tmp_path)}) == tmp_path / "run" / "valve"


def test_else_the_sessions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rundir, "SYSTEM", tmp_path / "nowhere" / "valve")
    assert choose_runtime_dir(None, {"XDG_RUNTIME_DIR": str(tmp_path)}) == tmp_path / "valve"


def test_an_admins_mode_for_a_group_is_kept(tmp_path: Path) -> None:
    tmp_path.chmod(0o770)
    choose_runtime_dir(str(tmp_path))
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o770


def refused(path: Path, reason: str) -> None:
    with pytest.raises(ValveRuntimeError, match=reason) as caught:
        choose_runtime_dir(str(path))
    assert re.search(re.escape(str(path)), str(caught.value)), "it names the directory"


def test_one_that_everybody_may_write_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    refused(tmp_path, "chmod it")


def test_a_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    refused(tmp_path / "link", "is a link")


def test_a_file_in_the_way_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    refused(tmp_path / "file", "cannot use the runtime directory")
    refused(tmp_path / "file" / "below", "cannot use the runtime directory")


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    """Where an automatic choice looks; SYSTEM only if its parent exists."""
    monkeypatch.setattr(rundir, "SYSTEM", tmp_path / "run" / "valve")
    monkeypatch.setattr(rundir, "SHARED", tmp_path)
    return {
        "system": tmp_path / "run" / "valve",
        "session": tmp_path / "session" / "valve",
        "shared": tmp_path / f"valve-{os.geteuid()}",
    }


def choose(place: str, path: Path) -> Path:
    session = str(path.parent) if place == "session" else ""
    return choose_runtime_dir(None, {"XDG_RUNTIME_DIR": session})


@pytest.mark.skipif(os.getuid() != 0, reason="gives directories away")
@pytest.mark.parametrize("place", ["system", "session", "shared"])
def test_one_that_somebody_else_has_made_is_refused(places: dict[str, Path], place: str) -> None:
    places[place].mkdir(parents=True)
    assert choose(place, places[place]) == places[place]
    os.chown(places[place], 65534, 0)
    with pytest.raises(ValveRuntimeError, match=f"{places[place]} belongs to user 65534"):
        choose(place, places[place])


def test_whose_a_shared_one_may_be(monkeypatch: pytest.MonkeyPatch) -> None:
    def is_shared(owner: int, group: int) -> bool:
        return rundir._shared_with_us(os.stat_result((0o040770, 0, 0, 0, owner, group, 0, 0, 0, 0)))

    monkeypatch.setattr(os, "getegid", lambda: 100)
    monkeypatch.setattr(os, "getgroups", lambda: [200])
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert [is_shared(owner, 5) for owner in (1000, 0, 1001)] == [True, True, False]
    assert [is_shared(1001, group) for group in (100, 200, 300)] == [True, True, False]
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert is_shared(1001, 300)


@pytest.mark.skipif(os.getuid() == 0, reason="root may read everything")
def test_no_permission_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0)
    refused(tmp_path, "no permission")
