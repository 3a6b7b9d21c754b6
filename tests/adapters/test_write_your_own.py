"""The page about writing an adapter is true: the one on it is built as it says, and driven by a sidecar."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "engines" / "write-your-own.md"
EVENT = b'data: {"choices":[{"delta":{"content":"squawk"}}]}\n\n'
DEADLINE_S = 20.0


def block(language: str) -> str:
    (found,) = re.findall(rf"```{language}\n(.*?)```", PAGE.read_text(), re.DOTALL)
    return str(found)


def apply(diff: str, text: str) -> str:
    """Adds each line with a plus after the one that stands above it."""
    above = ""
    for line in diff.splitlines(keepends=True):
        if line.startswith("+"):
            assert text.count(above) == 1
            text = text.replace(above, above + line[1:])
        above = line[1:]
    return text


@pytest.fixture(scope="module")
def adapters(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A source root with the package of adapters as the page makes it."""
    root = tmp_path_factory.mktemp("adapters")
    package = root / "valve_adapters"
    shutil.copytree(ROOT / "adapters" / "valve_adapters", package)
    (package / "parrot.py").write_text(block("python"))
    registry = package / "registry.py"
    registry.write_text(apply(block("diff"), registry.read_text()))
    return root


def environment(adapters: Path) -> dict[str, str]:
    return os.environ | {"PYTHONPATH": os.pathsep.join([str(adapters), os.environ["PYTHONPATH"]])}


class Parrot:
    """The engine of the page."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        parrot = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                parrot.asked.append(self.path)
                models, status = b'{"data":[{"owned_by":"parrot"}]}', b'{"speaking":0,"queued":0}'
                self.answer(models if self.path == "/v1/models" else status)

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                self.answer(EVENT * 3 if self.path == "/speak" else b"{}")

            def answer(self, body: bytes) -> None:
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def parrot() -> Iterator[Parrot]:
    made = Parrot()
    yield made
    made.server.shutdown()
    made.server.server_close()


@pytest.fixture
def sidecar(adapters: Path, parrot: Parrot, tmp_path: Path) -> Iterator[tuple[str, str]]:
    """(where it listens, its admin endpoint) of a real `valve serve --engine auto`."""
    options = ["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--device", "cpu", "--cooldown-ms", "1"]
    command = [sys.executable, "-m", "valve_sidecar", "serve", "--upstream", parrot.url, *options]
    process = subprocess.Popen(
        [*command, "--runtime-dir", str(tmp_path)],
        env=environment(adapters),
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr
    try:
        line = next(line for line in process.stderr if line.startswith("valve: serving on "))
        yield line.split()[3], line.split("admin ")[1].rstrip(")\n")
    finally:
        process.terminate()
        process.communicate(timeout=DEADLINE_S)


def wait_state(admin: str, **wanted: Any) -> None:
    end_s = time.monotonic() + DEADLINE_S
    while not wanted.items() <= httpx.get(f"{admin}/state").json().items():
        assert time.monotonic() < end_s, wanted
        time.sleep(0.01)


def test_a_sidecar_recognises_it_and_follows_its_rules(sidecar: tuple[str, str], parrot: Parrot) -> None:
    listen, admin = sidecar
    httpx.post(f"{listen}/rehearse", json={})
    state = httpx.get(f"{admin}/state").json()
    assert state["engine"] == "parrot"
    assert state["counters"]["gate_closes"] == 0
    assert httpx.post(f"{listen}/speak", json={}).content == EVENT * 3
    counters = httpx.get(f"{admin}/state").json()["counters"]
    assert (counters["gate_closes"], counters["tokens"]) == (1, 3)
    assert httpx.get(f"{admin}/readyz").status_code == 200
    assert parrot.asked[-1] == "/status", "its health path"


def test_after_a_client_has_gone_it_is_asked(sidecar: tuple[str, str], parrot: Parrot) -> None:
    listen, admin = sidecar
    host, port = listen.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as client:
        client.sendall(b"POST /speak HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n")
        wait_state(admin, in_flight=1)
    wait_state(admin, gate="open")
    assert "/status" in parrot.asked


def test_a_tenant_gets_its_preset(adapters: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "valve_sidecar", "run", "--engine", "parrot", "--device", "cpu"]
    done = subprocess.run(
        [*command, "--runtime-dir", str(tmp_path), "--", "env"],
        env=environment(adapters),
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=True,
    )
    assert "PARROT_TELEMETRY=0\n" in done.stdout
    assert "PARROT_STEP_TIMEOUT_S=604800\n" in done.stdout


def test_what_holds_for_every_adapter_holds_for_it(adapters: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--noconftest", "-rN",
         str(ROOT / "tests" / "adapters" / "test_registry.py"), "-k", "parrot"],
        env=environment(adapters), cwd=ROOT, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
