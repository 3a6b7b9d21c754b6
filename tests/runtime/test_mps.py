"""The Multi-Process Service is found by its processes' names."""

from pathlib import Path

from valve_runtime import mps


def process(proc: Path, pid: int, name: str) -> None:
    (proc / str(pid)).mkdir(parents=True)
    (proc / str(pid) / "comm").write_text(name + "\n")


def test_a_server_is_found(tmp_path: Path) -> None:
    process(tmp_path, 1, "init")
    (tmp_path / "2").mkdir()  # gone meanwhile
    assert mps.find_server(tmp_path) is None
    process(tmp_path, 31, "nvidia-cuda-mps-server"[:15])
    assert mps.find_server(tmp_path) == 31


def test_this_machine_has_none() -> None:
    assert mps.find_server() is None
