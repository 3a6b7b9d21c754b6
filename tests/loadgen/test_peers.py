"""Which proxies are compared, and how they are started."""

from pathlib import Path

import pytest

from valve_loadgen import peers
from valve_loadgen.peers import COMMANDS, Site


@pytest.mark.parametrize("name", ["nginx", "haproxy"])
def test_a_configuration_is_filled_in(name: str, tmp_path: Path) -> None:
    command = COMMANDS[name](Site(1234, 5678, tmp_path))
    (configuration,) = [path for part in command if (path := Path(part)).is_file()]
    text = configuration.read_text()
    assert "127.0.0.1:1234" in text
    assert "127.0.0.1:5678" in text
    assert "@" not in text


def test_ours_is_always_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers.shutil, "which", lambda _: None)
    assert peers.found() == ["valve", "valve_aiohttp"]


def test_processor_time_is_counted(tmp_path: Path) -> None:
    import os

    assert tmp_path.exists()
    assert peers.task_cpu_ns(os.getpid()) > 0
    assert peers.task_cpu_ns(0) == 0
