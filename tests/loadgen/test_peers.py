"""Which proxies are compared, and how they are started."""

import re
from pathlib import Path

import pytest

from valve_loadgen import peers
from valve_loadgen.peers import ALL, COMMANDS, Site, found


@pytest.mark.parametrize("name", ["nginx", "haproxy", "envoy"])
def test_a_configuration_is_filled_in(name: str, tmp_path: Path) -> None:
    command = COMMANDS[name](Site(1234, 5678, tmp_path))
    (configuration,) = [path for part in command if (path := Path(part)).is_file()]
    text = configuration.read_text()
    assert "1234" in text
    assert "5678" in text
    assert not re.search("@[A-Z]+@", text)


def test_ours_is_always_there_and_others_if_they_are_on_the_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "envoy").touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert found(ALL) == ("valve", "valve_aiohttp", "envoy")
    assert found(("smg", "valve")) == ("valve",)


@pytest.mark.parametrize("name", ["vllm-router", "smg", "sglang-router"])
def test_a_router_stands_between_its_port_and_the_backend(name: str, tmp_path: Path) -> None:
    command = COMMANDS[name](Site(1234, 5678, tmp_path))
    assert command[0] == name
    assert command[command.index("--port") + 1] == "1234"
    assert command[command.index("--worker-urls") + 1] == "http://127.0.0.1:5678"


def test_processor_time_is_counted(tmp_path: Path) -> None:
    import os

    assert tmp_path.exists()
    assert peers.task_cpu_ns(os.getpid()) > 0
    assert peers.task_cpu_ns(0) == 0
