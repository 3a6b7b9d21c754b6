"""What is told to systemd."""

import asyncio
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from valve_sidecar.systemd import notify, watchdog_s, watched


@pytest.mark.parametrize(
    ("environment", "wanted"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "7"}, 30.0),
        ({"WATCHDOG_USEC": "30000000"}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "8"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
    ],
)
def test_whose_watchdog_it_is(environment: dict[str, str], wanted: float | None) -> None:
    assert watchdog_s(environment, 7) == wanted


@pytest.fixture(params=["path", "abstract"])
def systemd(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[socket.socket]:
    name = str(tmp_path / "notify") if request.param == "path" else f"@valve-test-{os.getpid()}"
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    sock.bind(name if request.param == "path" else "\0" + name[1:])
    sock.setblocking(False)
    monkeypatch.setenv("NOTIFY_SOCKET", name)
    yield sock
    sock.close()


def test_lines_are_one_message(systemd: socket.socket) -> None:
    notify("READY=1", "STATUS=serving")
    assert systemd.recv(4096) == b"READY=1\nSTATUS=serving"


def test_nobody_there(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", "/nowhere/notify")
    notify("READY=1")
    assert "cannot tell systemd READY=1" in caplog.text
    monkeypatch.delenv("NOTIFY_SOCKET")
    notify("READY=1")


async def test_a_hung_plane_is_not_vouched_for(
    systemd: socket.socket, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "4000")
    answers, over = [True, False], asyncio.Event()

    async def responds() -> bool:
        if not answers:
            over.set()
            await asyncio.Event().wait()
        return answers.pop(0)

    async with watched(responds):
        await over.wait()
    assert systemd.recv(4096) == b"WATCHDOG=1"
    with pytest.raises(BlockingIOError):
        systemd.recv(4096)
    assert "does not respond" in caplog.text
