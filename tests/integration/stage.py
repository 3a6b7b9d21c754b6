"""Real processes for the integration tests: a scripted engine, sidecars, tenants with a witness, and the
segment.
"""

from __future__ import annotations

import mmap
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import orjson

PACE_S = 0.005  # between two tokens
DEADLINE_S = 60.0  # generous: machines are slow and shared
OTHER_LAYOUT = str(Path(__file__).with_name("other_layout.py"))

# Counts for ever into a shared mapping: moves exactly while the tenant computes.
WITNESS = """
import mmap, struct, sys
with open(sys.argv[1], "r+b") as f:
    m = mmap.mmap(f.fileno(), 8)
n = 0
while True:
    n += 1
    struct.pack_into("<Q", m, 0, n)
"""


def wait_until(condition: Callable[[], Any], what: str) -> Any:
    """Polls until `condition` gives something true and returns it."""
    end = time.monotonic() + DEADLINE_S
    while time.monotonic() < end:
        if result := condition():
            return result
        time.sleep(0.01)
    raise AssertionError(f"not within {DEADLINE_S} s: {what}")


class ScriptedEngine:
    """An OpenAI-like server. POST answers one token, waits for `release`, then the rest; or what `behave`
    says.
    """

    def __init__(self, port: int = 0) -> None:
        self.release = threading.Event()
        self.arrived = threading.Semaphore(0)
        self.behave = "stream"  # "die": cut the connection after the first token; "pace": go on with tokens
        self.traceparents: list[str | None] = []
        self.metrics = b""
        engine = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                known = {"/health": b'{"status":"ok"}', "/metrics": engine.metrics}
                self.reply(200, known.get(self.path, b"{}"))

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                engine.traceparents.append(self.headers.get("traceparent"))
                engine.arrived.release()
                self.send_response(200)
                self.send_header("Content-Type", "text/event-stream")
                self.send_header("Transfer-Encoding", "chunked")
                self.end_headers()
                self.event(b'{"id":"c-1","model":"scripted","choices":[{"delta":{"content":"one"}}]}')
                if engine.behave == "die":
                    self.connection.shutdown(socket.SHUT_RDWR)
                    self.close_connection = True
                    return
                while engine.behave == "pace" and not engine.release.wait(PACE_S):
                    self.event(b'{"choices":[{"delta":{"content":"and"}}]}')
                engine.release.wait(DEADLINE_S)
                self.event(b'{"choices":[{"delta":{"content":"two"},"finish_reason":"stop"}]}')
                self.event(b'{"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":2}}')
                self.event(b"[DONE]")
                self.wfile.write(b"0\r\n\r\n")

            def event(self, data: bytes) -> None:
                line = b"data: " + data + b"\n\n"
                self.wfile.write(b"%x\r\n%s\r\n" % (len(line), line))

            def reply(self, status: int, body: bytes) -> None:
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self.release.set()
        self.server.shutdown()
        self.server.server_close()


class Sidecar:
    """A real `valve serve`; `listen` and `admin` are read from the line that says it is ready.

    `library`: None for our own.
    """

    def __init__(self, runtime_dir: Path, upstream: str, *options: str, library: Path | None = None) -> None:
        self.runtime_dir = runtime_dir
        self.process = start_valve(
            runtime_dir, "serve", "--upstream", upstream, "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0",
            "--device", "cpu", "--cooldown-ms", "20", *options, library=library, stderr=subprocess.PIPE,
        )  # fmt: skip
        self.read_lines()

    def read_lines(self) -> None:
        """Of its standard error, from now on."""
        self.lines: list[str] = []
        self.listen = self.admin = ""
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def wait_ready(self) -> None:
        wait_until(lambda: self.listen or self.process.poll() is not None, "the sidecar is ready")
        assert self.listen, "".join(self.lines)

    def _read(self) -> None:
        assert self.process.stderr is not None
        with self.process.stderr as lines:
            for line in lines:
                self.lines.append(line)
                if line.startswith("valve: serving on "):
                    self.admin = line.split("admin ")[1].rstrip(")\n")
                    self.listen = line.split()[3]

    def kill_child(self, module: str) -> None:
        """Kills the process of ours that runs `module`."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        (pid,) = (pid for pid in children if module in Path(f"/proc/{pid}/cmdline").read_text())
        os.kill(int(pid), signal.SIGKILL)

    def state(self) -> dict[str, Any]:
        return dict(httpx.get(f"{self.admin}/state").json())

    def wait_tenant_seen(self) -> None:
        """From then on it tells which request a stop answers: of what it never saw running nobody knows."""
        wait_until(lambda: self.state()["counters"]["harvested_s"] > 0, "the sidecar has seen a tenant run")

    def events(self, kind: str) -> list[dict[str, Any]]:
        events = httpx.get(f"{self.admin}/events").json()["events"]
        return [event for event in events if event["kind"] == kind]

    def end(self) -> int:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(DEADLINE_S)
        self._reader.join(DEADLINE_S)
        return code


class Request(threading.Thread):
    """One streamed chat request; `body` grows as it arrives."""

    def __init__(self, base: str, request_id: str = "r", headers: dict[str, str] | None = None) -> None:
        super().__init__(daemon=True)
        self.base, self.headers = base, {"X-Request-Id": request_id} | (headers or {})
        self.body, self.status = b"", 0
        self.error: Exception | None = None
        self.start()

    def run(self) -> None:
        try:
            with httpx.stream(
                "POST",
                f"{self.base}/v1/chat/completions",
                json={"stream": True},
                headers=self.headers,
                timeout=DEADLINE_S,
            ) as response:
                self.status = response.status_code
                for chunk in response.iter_raw():
                    self.body += chunk
        except httpx.HTTPError as error:
            self.error = error

    def wait_first_token(self) -> None:
        wait_until(lambda: b"one" in self.body, "the first token")

    def wait_done(self) -> None:
        self.join(DEADLINE_S)
        assert not self.is_alive()
        assert self.error is None
        assert b"[DONE]" in self.body


class Tenant:
    """A real `valve run` of a witness that counts while it computes. `library`: None for our own."""

    def __init__(
        self, runtime_dir: Path, job: str = "batch", *options: str, library: Path | None = None
    ) -> None:
        self.runtime_dir, self.job = runtime_dir, job
        self.file = runtime_dir / f"witness-{job}"
        self.file.write_bytes(bytes(8))
        self.process = start_valve(
            runtime_dir,
            "run",
            "--job",
            job,
            "--device",
            "cpu",
            *options,
            "--",
            sys.executable,
            "-c",
            WITNESS,
            str(self.file),
            library=library,
        )
        with self.file.open("rb") as f:
            self._map = mmap.mmap(f.fileno(), 8, prot=mmap.PROT_READ)

    def count(self) -> int:
        return int(struct.unpack_from("<Q", self._map, 0)[0])

    def moves(self) -> bool:
        before = self.count()
        time.sleep(0.05)
        return self.count() != before

    def row(self) -> dict[str, Any] | None:
        rows = status(self.runtime_dir)["tenants"]
        return next((row for row in rows if row["job"] == self.job and row["alive"]), None)

    def wait_running(self) -> None:
        wait_until(
            lambda: (row := self.row()) and row["state"] == "running" and self.moves(), "the tenant runs"
        )

    def wait_stopped(self) -> None:
        wait_until(lambda: (row := self.row()) and row["state"] == "stopped", "the tenant is stopped")
        assert not self.moves(), "it computes although it is acknowledged as stopped"

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                self.process.send_signal(signal.SIGTERM)  # it may be stopped: the second one ends it
        self.process.wait(DEADLINE_S)
        self._map.close()


def start_valve(
    runtime_dir: Path, *arguments: str, library: Path | None = None, **options: Any
) -> subprocess.Popen[str]:
    environment = os.environ | {"VALVE_RUNTIME_DIR": str(runtime_dir)}
    program = [OTHER_LAYOUT, str(library)] if library else ["-m", "valve_sidecar"]
    command = [sys.executable, *program, *arguments]
    return subprocess.Popen(command, env=environment, text=True, start_new_session=True, **options)


def valve(runtime_dir: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs a valve command to its end."""
    environment = os.environ | {"VALVE_RUNTIME_DIR": str(runtime_dir)}
    command = [sys.executable, "-m", "valve_sidecar", *arguments]
    return subprocess.run(
        command, env=environment, text=True, capture_output=True, timeout=DEADLINE_S, check=False
    )


def status(runtime_dir: Path) -> dict[str, Any]:
    answer = valve(runtime_dir, "status", "--json")
    assert answer.returncode == 0, answer.stderr
    return dict(orjson.loads(answer.stdout))


class Stage:
    """Starts things for one test in one runtime directory and ends them all."""

    def __init__(self, runtime_dir: Path) -> None:
        self.runtime_dir = runtime_dir
        self.engine = ScriptedEngine()
        self._started: list[Any] = [self.engine]

    def sidecar(self, *options: str, upstream: str | None = None, library: Path | None = None) -> Sidecar:
        sidecar = Sidecar(self.runtime_dir, upstream or self.engine.url, *options, library=library)
        self._started.append(sidecar)
        sidecar.wait_ready()
        return sidecar

    def late_engine(self, port: int) -> ScriptedEngine:
        engine = ScriptedEngine(port)
        self._started.append(engine)
        return engine

    def tenant(self, job: str = "batch", *options: str, library: Path | None = None) -> Tenant:
        tenant = Tenant(self.runtime_dir, job, *options, library=library)
        self._started.append(tenant)
        return tenant

    def close(self) -> None:
        self.engine.release.set()
        for thing in reversed(self._started):
            thing.close() if isinstance(thing, ScriptedEngine) else thing.end()
