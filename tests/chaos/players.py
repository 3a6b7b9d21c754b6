"""The real processes of one cast: engine, clients, sidecar and tenant; each can be started again."""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import httpx
import orjson

from integration import fake_gpu
from integration.stage import DEADLINE_S, wait_until
from valve_loadgen.lab import free_port
from valve_runtime.recovery import recover
from valve_runtime.tree import descendants

from .answer import Plan
from .history import Exchange
from .scenario import Cast

TESTS = Path(__file__).resolve().parent.parent
COOLDOWN_MS = 60
START_S = 60.0  # of a sidecar, on a machine with much else to do
MARKER = "VALVE_CHAOS"


def alive(process: subprocess.Popen[Any]) -> bool:
    return process.poll() is None


class Player:
    """A process of ours in a session of its own. Lines that it writes to `said_on` go to `hear`."""

    said_on = "stderr"

    def __init__(
        self, directory: Path, command: list[str], environment: dict[str, str] | None = None
    ) -> None:
        self.listens = threading.Event()  # clear: nobody reads what it says
        self.listens.set()
        pipes: dict[str, Any] = {self.said_on: subprocess.PIPE, "stdin": subprocess.PIPE}
        self.process = subprocess.Popen(
            command, env=os.environ | (environment or {}), cwd=directory, start_new_session=True, **pipes
        )
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        return self.process.pid

    def hear(self, line: str) -> None:
        self.lines.append(line)

    def _read(self) -> None:
        with getattr(self.process, self.said_on) as lines:
            for line in lines:
                self.listens.wait()
                self.hear(line.decode(errors="replace"))

    def end(self, number: signal.Signals = signal.SIGTERM, patience_s: float = DEADLINE_S) -> None:
        """Stopped or not; SIGKILL if it does not go."""
        self.listens.set()
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(number)
            self.process.send_signal(signal.SIGCONT)
        try:
            self.process.wait(patience_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._reader.join(1)  # what it has left behind may go on for a while
        assert self.process.stdin
        with contextlib.suppress(BrokenPipeError):  # what it never read
            self.process.stdin.close()


class Engine(Player):
    def __init__(self, directory: Path, port: int) -> None:
        super().__init__(directory, [sys.executable, "-m", "chaos.engine", str(port)])
        self.url = f"http://127.0.0.1:{port}"

    def answers(self) -> bool:
        with contextlib.suppress(httpx.HTTPError):
            return httpx.get(f"{self.url}/health", timeout=2).is_success
        return False

    def release(self) -> None:
        """Lets held requests go on."""
        with contextlib.suppress(httpx.HTTPError):
            httpx.post(f"{self.url}/release", timeout=2)


class Clients(Player):
    """`waiting`: requests that have not ended; what ends goes to `ended`."""

    said_on = "stdout"

    def __init__(self, directory: Path) -> None:
        self.waiting: dict[str, Plan] = {}
        self.begun: set[str] = set()
        self.ended: queue.SimpleQueue[Exchange] = queue.SimpleQueue()
        super().__init__(directory, [sys.executable, "-m", "chaos.client"])

    def send(self, url: str, plan: Plan, *, dribble: bool = False) -> str:
        self.waiting[plan.request_id] = plan
        self._tell({"url": url, "plan": asdict(plan), "dribble": dribble})
        return plan.request_id

    def leave(self, request_id: str) -> None:
        self._tell({"leave": request_id})

    def _tell(self, order: dict[str, Any]) -> None:
        assert self.process.stdin
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write(orjson.dumps(order) + b"\n")
            self.process.stdin.flush()

    def hear(self, line: str) -> None:
        content = orjson.loads(line)
        if "begun" in content:
            self.begun.add(content["begun"])
            return
        self.waiting.pop(content["request_id"], None)
        self.ended.put(Exchange(**content))


class Sidecar(Player):
    """`listen` and `admin` are known once it is ready."""

    def __init__(
        self, cast: Cast, directory: Path, upstream: str, port: int, environment: dict[str, str]
    ) -> None:
        self.listen, self.admin, self.workers = f"http://127.0.0.1:{port}", "", cast.workers
        device = fake_gpu.GPU if cast.gpu else "cpu"
        options = ["--upstream", upstream, "--listen", f"127.0.0.1:{port}", "--admin", "127.0.0.1:0"]
        options += ["--device", device, "--cooldown-ms", str(COOLDOWN_MS), "--engine", "vllm", *cast.serve]
        if cast.traces:
            options += ["--otlp-endpoint", "http://127.0.0.1:9"]  # nobody collects
        module = "chaos.serve_driver" if cast.gpu else "valve_sidecar"
        super().__init__(directory, [sys.executable, "-m", module, "serve", *options], environment)

    def hear(self, line: str) -> None:
        super().hear(line)
        if line.startswith("valve: serving on "):
            self.admin = line.split("admin ")[1].rstrip(")\n")

    def wait_ready(self) -> None:
        end_s = time.monotonic() + START_S
        while not self.admin and alive(self.process) and time.monotonic() < end_s:
            time.sleep(0.01)
        assert self.admin, f"the sidecar does not start: {self.lines}"

    def worker_pids(self) -> list[int]:
        """Those that carry requests: itself, or its members."""
        return [self.pid] if self.workers == 1 else self.children("valve_sidecar.member")

    def children(self, module: str) -> list[int]:
        """Its children that run `module`, the oldest first."""
        found = []
        for pid in sorted(descendants([self.pid])):
            with contextlib.suppress(OSError):
                if module.encode() in Path(f"/proc/{pid}/cmdline").read_bytes():
                    found.append(pid)
        return found


class Tenant(Player):
    """`valve run` of what ticks, or of two ranks on the fake GPU."""

    def __init__(self, cast: Cast, directory: Path, number: int, environment: dict[str, str]) -> None:
        self.file = directory / f"ticks-{number}"
        self.boards = [fake_gpu.Board(directory / f"board-{number}-{rank}") for rank in range(2 * cast.gpu)]
        self.switch = directory / "switch"
        driver = str(TESTS / "integration" / "run_driver.py")
        command = self._ranks() if cast.gpu else [str(fake_gpu.find("ticker")), str(self.file)]
        run = [sys.executable, driver, str(directory), cast.freezer, *command]
        super().__init__(directory, run, environment | self._environment(cast, environment))

    def _ranks(self) -> list[str]:
        commands = [" ".join(fake_gpu.victim(board)) for board in self.boards]
        return ["nice", "-n", "19", "sh", "-c", " & ".join([*commands, "wait"])]

    def _environment(self, cast: Cast, given: dict[str, str]) -> dict[str, str]:
        found = {"VALVE_TEST_MAX_STOPPED_S": str(cast.max_stopped_s)}
        if cast.gpu:
            gpu = fake_gpu.environment()
            preload = ":".join([gpu["LD_PRELOAD"], given.get("LD_PRELOAD", "")]).rstrip(":")
            found |= gpu | {"LD_PRELOAD": preload, "FAKE_RM_SWITCH": str(self.switch)}
        return found

    def insist(self) -> None:
        """Ends it as a person would who does not want to wait for the gate."""
        for _ in range(2):
            with contextlib.suppress(ProcessLookupError):
                self.process.send_signal(signal.SIGTERM)
            time.sleep(0.02)  # two at once are one
        self.end()

    def guardian(self) -> int:
        """0 if it is gone."""
        return next((pid for pid in self.tree() if _runs(pid, b"valve_runtime.guardian")), 0)

    def tree(self) -> list[int]:
        return sorted(descendants([self.pid]))

    def members(self) -> list[int]:
        """The job's own processes."""
        guardian = self.guardian()
        return [pid for pid in self.tree() if pid != guardian]


def _runs(pid: int, module: bytes) -> bool:
    with contextlib.suppress(OSError):
        return module in Path(f"/proc/{pid}/cmdline").read_bytes()
    return False


class Players:
    """All of one cast, in a runtime directory of its own."""

    def __init__(self, cast: Cast, directory: Path, upstream: str = "") -> None:
        self.cast, self.directory = cast, directory
        self.jump = directory / "jump"
        self.jump.write_bytes(bytes(8))
        os.environ[MARKER] = str(directory)
        os.environ["VALVE_RUNTIME_DIR"] = str(directory)
        self._clock = {"LD_PRELOAD": str(fake_gpu.find("libjump.so")), "JUMP_FILE": str(self.jump)}
        self._engine_port, self._port = free_port(), free_port()
        self._tenants = 0
        self.engine = Engine(directory, self._engine_port)
        self.clients = Clients(directory)
        self._upstream = upstream or self.engine.url
        self.sidecar = self.new_sidecar()
        self.tenant = self.new_tenant()

    def new_sidecar(self) -> Sidecar:
        return Sidecar(self.cast, self.directory, self._upstream, self._port, self._clock)

    def new_tenant(self) -> Tenant:
        self._tenants += 1
        return Tenant(self.cast, self.directory, self._tenants, self._clock)

    def restore(self) -> None:
        """Whoever is gone comes back; a tenant without its guardian is started anew."""
        self.restore_engine()
        if not alive(self.clients.process):
            self.clients.end()
            self.clients = Clients(self.directory)
        if not alive(self.sidecar.process):
            self.restart_sidecar()
        self.sidecar.wait_ready()
        if not alive(self.tenant.process) or not self.tenant.guardian():
            self.restart_tenant()

    def restore_engine(self) -> None:
        if not alive(self.engine.process):
            self.engine.end()
            self.engine = Engine(self.directory, self._engine_port)
        wait_until(self.engine.answers, "the engine answers")

    def restart_sidecar(self) -> None:
        self.sidecar.end()
        self.sidecar = self.new_sidecar()

    def restart_tenant(self) -> None:
        self.tenant.insist()
        recover(self.directory)  # as every valve command does first
        self.tenant = self.new_tenant()

    def end(self) -> None:
        for player in (self.clients, self.tenant, self.sidecar, self.engine):
            player.end(patience_s=8)
