"""How the shim gets into a job, and who uses a GPU without it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from valve_runtime import native, shim, tree
from valve_runtime.program import Obstacle
from valve_runtime.shim import LIBRARY_NAME, SHIM_DEADLINE_S, Order, Unshimmed

GPU = "GPU-00112233-4455-6677-8899-aabbccddeeff"
LIBRARY = Path("/opt/valve") / LIBRARY_NAME

# Holds a memfd of the name given, as the fake driver does, and says so.
HOLDER = """
import os, sys, time
fd = os.memfd_create(sys.argv[1])
print(flush=True)
time.sleep(60)
"""


def order(directory: Path = Path("/run/valve")) -> Order:
    return Order(directory, "batch", 4711, (GPU, "cpu"))


def test_only_a_gpu_makes_a_gpu_job() -> None:
    assert not shim.is_gpu_job(("cpu",))
    assert shim.is_gpu_job((GPU,))
    assert shim.is_gpu_job(("cpu", GPU))


def test_the_environment_says_everything(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert order(Path("run")).environment(LIBRARY, {}) == {
        "LD_PRELOAD": str(LIBRARY),
        "VALVE_RUNTIME_DIR": str(tmp_path / "run"),
        "VALVE_JOB_NAME": "batch",
        "VALVE_RUNNER": "4711",
        "VALVE_DEVICES": f"{GPU},cpu",
    }


def test_a_pinned_job_sees_its_gpus_only(tmp_path: Path) -> None:
    assert order(tmp_path).visibility() == {}
    assert Order(tmp_path, "batch", 1, (GPU, "cpu"), pinned=True).visibility() == {
        "CUDA_VISIBLE_DEVICES": GPU
    }


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", f"{LIBRARY}"),
        ("/a.so", f"{LIBRARY}:/a.so"),
        ("/a.so /b.so", f"{LIBRARY}:/a.so:/b.so"),
        (f"/a.so:{LIBRARY}:/b.so", f"{LIBRARY}:/a.so:/b.so"),
    ],
)
def test_what_is_preloaded_already_stays(before: str, after: str) -> None:
    assert order().environment(LIBRARY, {"LD_PRELOAD": before})["LD_PRELOAD"] == after


# ---- commands that it cannot be loaded into ----


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A place where the shim would lie."""
    library = tmp_path / "lib" / "libvalve.so"
    library.parent.mkdir()
    monkeypatch.setattr(native, "library", lambda: SimpleNamespace(path=library))
    return library.with_name(LIBRARY_NAME)


def install(path: Path) -> None:
    path.write_bytes(Path(sys.executable).read_bytes()[:64])


def test_an_ordinary_command_is_not_spoken_of(installed: Path, capfd: pytest.CaptureFixture[str]) -> None:
    install(installed)
    assert shim.environment(order(), "sh", {})["LD_PRELOAD"] == str(installed)
    assert capfd.readouterr().err == ""


def test_a_missing_library_is_told_with_the_mend(installed: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert shim.environment(order(), "sh", {}) == {}
    said = capfd.readouterr().err
    assert f"no {LIBRARY_NAME} in {installed.parent} (run `make native`)" in said
    assert "it can only be stopped by the freezer, which does not halt kernels already on the GPU" in said


def test_a_path_that_the_linker_would_split_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "a b"
    folder.mkdir()
    install(folder / LIBRARY_NAME)
    monkeypatch.setattr(native, "library", lambda: SimpleNamespace(path=folder / "libvalve.so"))
    assert shim.environment(order(), "sh", {}) == {}
    assert "has a blank or a colon in its name" in capfd.readouterr().err


@pytest.mark.parametrize("breaks", [False, True])
def test_what_cannot_load_it_may_start_what_can(
    breaks: bool, installed: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Unless the attempt would end the program."""
    install(installed)
    monkeypatch.setattr(shim, "obstacle", lambda *_: Obstacle("it is carved in stone", breaks))
    assert bool(shim.environment(order(), "tool", {})) is not breaks
    assert "shim cannot be loaded into tool: it is carved in stone; it can only" in capfd.readouterr().err


# ---- processes that use a GPU ----


class Stage:
    """Processes that have what a GPU's user has, and a clock."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self._processes: list[subprocess.Popen[bytes]] = []

    def start(self, file: str) -> tree.Process:
        process = subprocess.Popen([sys.executable, "-c", HOLDER, file], stdout=subprocess.PIPE)
        self._processes.append(process)
        assert process.stdout
        assert process.stdout.readline() == b"\n"
        return tree.Process(process.pid, tree.start_ticks(process.pid))

    def end(self) -> None:
        for process in self._processes:
            process.kill()
            process.communicate()


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    made = Stage()
    monkeypatch.setattr(time, "monotonic", lambda: made.now_s)
    try:
        yield made
    finally:
        made.end()


@pytest.mark.parametrize(
    ("file", "uses"),
    [("nvidiactl", True), ("nvidia0", True), ("nvidia12", True), ("nvidia-uvm", True),
     ("nvidia", False), ("nvidia-caps", False), ("other", False)],
)  # fmt: skip
def test_who_uses_a_gpu_is_seen_by_its_files(file: str, uses: bool, stage: Stage) -> None:
    assert shim.uses_gpu(stage.start(file).pid) is uses


def test_nobody_uses_a_gpu_any_more_when_gone() -> None:
    assert not shim.uses_gpu(2**22 + 1)


@pytest.mark.parametrize("target", ["/dev/nvidiactl", "/dev/nvidia3", "/dev/nvidia-uvm"])
def test_real_device_files_are_known(target: str, tmp_path: Path) -> None:
    files = tmp_path / "7" / "fd"
    files.mkdir(parents=True)
    (files / "3").symlink_to(target)
    assert shim.uses_gpu(7, tmp_path)


@pytest.mark.parametrize(
    ("mapped", "idle"),
    [
        (["/usr/lib/libc.so.6"], False),
        (["/opt/libvalve_preload.so"], True),
        (["/opt/libvalve_preload.so", "/dev/nvidiactl"], True),
        (["/opt/libvalve_preload.so", "/dev/nvidia0"], False),
        (["/dev/nvidia0"], False),
    ],
)
def test_with_the_shim_only_channels_are_suspicious(mapped: list[str], idle: bool, tmp_path: Path) -> None:
    (tmp_path / "7").mkdir()
    lines = [f"7f0000000000-7f0000001000 rw-s 00000000 00:06 42    {path}\n" for path in mapped]
    (tmp_path / "7" / "maps").write_text("".join(lines))
    assert shim.is_idle_with_shim(7, proc=tmp_path) is idle


def test_what_a_fork_has_of_a_rank_is_not_its_own(tmp_path: Path) -> None:
    (tmp_path / "7").mkdir()
    maps = tmp_path / "7" / "maps"
    shim_line = "7f0000000000-7f0000001000 r-xp 00000000 00:06 41    /opt/libvalve_preload.so\n"
    of_the_rank = "7f0000002000-7f0000003000 rw-s 00000000 00:06 42    /dev/nvidia0"
    another = of_the_rank.replace("7f00", "7fff")
    maps.write_text(f"{shim_line}{of_the_rank}\n")
    assert shim.gpu_mappings(maps.read_text()) == {of_the_rank}
    assert shim.is_idle_with_shim(7, frozenset({of_the_rank, another}), tmp_path)
    maps.write_text(f"{shim_line}{of_the_rank}\n{another}\n")
    assert not shim.is_idle_with_shim(7, frozenset({of_the_rank}), tmp_path)


def test_one_that_is_no_rank_in_time_is_found(stage: Stage) -> None:
    user, rank, bystander = stage.start("nvidiactl"), stage.start("nvidia0"), stage.start("other")
    members, unshimmed = (user, rank, bystander), Unshimmed()
    assert unshimmed.look(members, [rank.pid]) == ()
    stage.now_s += SHIM_DEADLINE_S - 0.1
    assert unshimmed.look(members, [rank.pid]) == ()
    stage.now_s += 0.1
    assert unshimmed.look(members, [rank.pid]) == (user,)
    assert unshimmed.look(members, [rank.pid]) == (user,)
    assert unshimmed.look(members, [rank.pid, user.pid]) == ()  # late, but there
    assert unshimmed.look((rank, bystander), [rank.pid]) == ()


def test_its_time_begins_anew_when_it_was_a_rank(stage: Stage) -> None:
    user, unshimmed = stage.start("nvidiactl"), Unshimmed()
    unshimmed.look([user], [])
    unshimmed.look([user], [user.pid])
    stage.now_s += SHIM_DEADLINE_S
    assert unshimmed.look([user], []) == ()


def test_it_is_told_once_with_its_name(capfd: pytest.CaptureFixture[str]) -> None:
    unshimmed = Unshimmed()
    me = tree.Process(os.getpid(), tree.start_ticks(os.getpid()))
    unshimmed.tell_once(())
    assert capfd.readouterr().err == ""
    unshimmed.tell_once((me,))
    who = f"{os.getpid()} {Path('/proc/self/comm').read_text().strip()}"
    assert capfd.readouterr().err == (
        f"valve run: {who} uses a GPU without Valve's shim (static binary? LD_PRELOAD wiped?): "
        "it will be stopped by the freezer, which does not halt kernels already on the GPU\n"
    )
    unshimmed.tell_once((me,))
    assert capfd.readouterr().err == ""
