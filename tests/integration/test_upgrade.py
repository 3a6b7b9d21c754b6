"""A sidecar is succeeded, activated and watched, as systemd does it: no request is lost."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from valve_sidecar.config import DATA_PLANES

from .stage import DEADLINE_S, Request, Sidecar, Stage, wait_until

pytestmark = pytest.mark.integration
EITHER = pytest.mark.parametrize("data_plane", DATA_PLANES)
# What systemd does.
ACTIVATE = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ |= {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1"}
os.execv(sys.executable, [sys.executable, "-m", "valve_sidecar", *sys.argv[2:]])
"""


class Manager:
    """systemd's end of the notification socket."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "notify"
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(self.path))
        self._socket.settimeout(3 * DEADLINE_S)  # a successor takes as long as a start

    def wait_for(self, wanted: str) -> dict[str, str]:
        """The first message with that line, as its lines' keys and values."""
        while True:
            lines = self._socket.recv(4096).decode().split("\n")
            if wanted in lines or any(line.startswith(wanted) for line in lines):
                return dict(line.split("=", 1) for line in lines)

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Manager]:
    manager = Manager(tmp_path)
    monkeypatch.setenv("NOTIFY_SOCKET", str(manager.path))
    yield manager
    manager.close()


class Load:
    """Clients that ask on and on: one on one connection for as long as it is kept, one on ever new ones."""

    def __init__(self, base: str) -> None:
        self._base, self._ending = base, threading.Event()
        self.statuses: list[int] = []
        self.errors: list[Exception] = []
        self._threads = [threading.Thread(target=work, daemon=True) for work in (self._keep, self._renew)]
        for thread in self._threads:
            thread.start()

    def wait_for_more(self, count: int = 30) -> None:
        enough = len(self.statuses) + count
        wait_until(lambda: len(self.statuses) >= enough or self.errors, "more answers")

    def end(self) -> None:
        self._ending.set()
        for thread in self._threads:
            thread.join(DEADLINE_S)
        assert not self.errors, self.errors
        assert set(self.statuses) == {200}

    def _keep(self) -> None:
        with httpx.Client(base_url=self._base, timeout=DEADLINE_S) as client:
            self._ask(client)

    def _renew(self) -> None:
        with httpx.Client(base_url=self._base, timeout=DEADLINE_S, headers={"Connection": "close"}) as client:
            self._ask(client)

    def _ask(self, client: httpx.Client) -> None:
        try:
            while not self._ending.is_set():
                self.statuses.append(client.get("/v1/models").status_code)
        except httpx.HTTPError as error:
            self.errors.append(error)


def is_gone(pid: int) -> bool:
    return not Path(f"/proc/{pid}").exists() or b"\0" not in Path(f"/proc/{pid}/cmdline").read_bytes()


@pytest.fixture
def successors() -> Iterator[list[int]]:
    """Their pids; they are ended."""
    pids: list[int] = []
    yield pids
    for pid in pids:
        os.kill(pid, signal.SIGTERM)
        wait_until(lambda pid=pid: is_gone(pid), "the successor ends")


def succeed(sidecar_pid: int, manager: Manager, successors: list[int]) -> int:
    os.kill(sidecar_pid, signal.SIGUSR2)
    manager.wait_for("RELOADING=1")
    pid = int(manager.wait_for("MAINPID=")["MAINPID"])
    successors[:] = [pid]
    return pid


@pytest.mark.parametrize(("data_plane", "workers"), [("native", "1"), ("native", "2"), ("aiohttp", "1")])
def test_successors_under_load_lose_nothing(
    stage: Stage, manager: Manager, successors: list[int], data_plane: str, workers: str
) -> None:
    sidecar = stage.sidecar("--data-plane", data_plane, "--workers", workers)
    stream, load = Request(sidecar.listen), Load(sidecar.listen)
    stream.wait_first_token()
    load.wait_for_more()
    successor = succeed(sidecar.process.pid, manager, successors)
    load.wait_for_more()
    assert sidecar.state()["pid"] == successor
    load.end()
    stage.engine.release.set()
    stream.wait_done()
    assert sidecar.process.wait(DEADLINE_S) == 0


def test_a_successor_that_cannot_start_changes_nothing(
    stage: Stage, manager: Manager, tmp_path: Path
) -> None:
    settings = tmp_path / "valve.toml"
    settings.write_text("")
    sidecar = stage.sidecar("--config", str(settings))
    settings.write_text("no_such_key = 1\n")
    os.kill(sidecar.process.pid, signal.SIGUSR2)
    manager.wait_for("RELOADING=1")
    assert "going on" in manager.wait_for("READY=1")["STATUS"]
    assert httpx.get(f"{sidecar.listen}/v1/models").status_code == 200
    assert sidecar.end() == 0
    assert any("no_such_key" in line for line in sidecar.lines)


class Activated(Sidecar):
    """A sidecar that is given its socket, and keeps the place in the queue when it is restarted."""

    def __init__(self, stage: Stage, sock: socket.socket, *options: str) -> None:
        command = [
            sys.executable,
            "-c",
            ACTIVATE,
            str(sock.fileno()),
            "serve",
            "--upstream",
            stage.engine.url,
        ]
        command += ["--admin", "127.0.0.1:0", "--device", "cpu"]
        self.process = subprocess.Popen(
            [*command, *options],
            env=os.environ | {"VALVE_RUNTIME_DIR": str(stage.runtime_dir)},
            text=True,
            stderr=subprocess.PIPE,
            pass_fds=[sock.fileno()],
            start_new_session=True,
        )
        self.read_lines()
        self.wait_ready()


@pytest.mark.parametrize(("data_plane", "workers"), [("native", "2"), ("aiohttp", "1")])
def test_a_restart_under_load_on_a_socket_of_systemds_loses_nothing(
    stage: Stage, data_plane: str, workers: str
) -> None:
    options = ("--data-plane", data_plane, "--workers", workers)
    with socket.create_server(("127.0.0.1", 0), backlog=128) as sock:
        first = Activated(stage, sock, *options)
        assert first.listen == f"http://127.0.0.1:{sock.getsockname()[1]}"
        stream, load = Request(first.listen), Load(first.listen)
        stream.wait_first_token()
        load.wait_for_more()
        first.process.send_signal(signal.SIGTERM)
        waiting = [Request(first.listen, f"r{i}") for i in range(4)]  # some before it notices, some after
        stage.engine.release.set()
        stream.wait_done()
        assert first.process.wait(DEADLINE_S) == 0
        second = Activated(stage, sock, *options)
        for request in waiting:
            request.wait_done()
        load.wait_for_more()
        load.end()
        assert second.end() == 0


@EITHER
def test_it_tells_that_it_is_ready_lives_and_ends(
    stage: Stage, manager: Manager, data_plane: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "200000")
    sidecar = stage.sidecar("--data-plane", data_plane)
    assert sidecar.listen in manager.wait_for("READY=1")["STATUS"]
    for _ in range(3):
        manager.wait_for("WATCHDOG=1")
    assert sidecar.end() == 0
    manager.wait_for("STOPPING=1")
