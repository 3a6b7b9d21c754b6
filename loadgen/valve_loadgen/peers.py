"""Owns the proxies that are compared: which are on this machine, and how each is started before a backend."""

import asyncio
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from valve_loadgen.lab import free_port, healthy
from valve_loadgen.processes import Child, Processes, ready
from valve_loadgen.target import Target

CONFIGURATIONS = Path(__file__).parent / "peers"


@dataclass(frozen=True)
class Site:
    """Where a peer stands: its own port, the backend's, and a directory for what it writes."""

    port: int
    backend: int
    scratch: Path

    def configuration(self, name: str) -> Path:
        """A committed configuration, its places filled in."""
        text = (CONFIGURATIONS / name).read_text()
        for place, value in (("PORT", self.port), ("BACKEND", self.backend), ("SCRATCH", self.scratch)):
            text = text.replace(f"@{place}@", str(value))
        path = self.scratch / name
        path.write_text(text)
        return path

    @property
    def admin(self) -> Path:
        return self.scratch / "admin.sock"


Command = Callable[[Site], Sequence[str]]


def valve(data_plane: str, *options: str) -> Command:
    """`valve serve` as it is by default: gate, classification, token accounting and metrics are on."""

    def command(site: Site) -> Sequence[str]:
        addresses = ["--upstream", f"http://127.0.0.1:{site.backend}", "--listen", f"127.0.0.1:{site.port}"]
        plane = ["--data-plane", data_plane, "--admin", f"unix:{site.admin}"]
        serve = [sys.executable, "-m", "valve_sidecar", "serve", *addresses, *plane]
        return [*serve, "--engine", "vllm", "--device", "cpu", *options]  # one that keeps connections open

    return command


def nginx(site: Site) -> Sequence[str]:
    return ["nginx", "-p", str(site.scratch), "-c", str(site.configuration("nginx.conf")), "-e", "stderr"]


def haproxy(site: Site) -> Sequence[str]:
    return ["haproxy", "-f", str(site.configuration("haproxy.cfg"))]


def envoy(site: Site) -> Sequence[str]:
    one_thread = ["--concurrency", "1", "--use-dynamic-base-id", "-l", "off"]
    return ["envoy", "-c", str(site.configuration("envoy.yaml")), *one_thread]


def router(*program: str) -> Command:
    """vLLM's and SGLang's: one worker behind it, no retries, metrics on a port of their own."""

    def command(site: Site) -> Sequence[str]:
        addresses = ["--host", "127.0.0.1", "--port", str(site.port), "--prometheus-port", str(free_port())]
        worker = ["--worker-urls", f"http://127.0.0.1:{site.backend}", "--policy", "round_robin"]
        return [*program, *addresses, *worker, "--disable-retries", "--log-level", "error"]

    return command


def litellm(site: Site) -> Sequence[str]:
    where = ["--host", "127.0.0.1", "--port", str(site.port), "--num_workers", "1"]
    return ["litellm", "--config", str(site.configuration("litellm.yaml")), *where]


COMMANDS: dict[str, Command] = {
    "valve": valve("native"),
    "valve_aiohttp": valve("aiohttp"),
    "valve_workers": valve("native", "--workers", "2"),
    "nginx": nginx,
    "haproxy": haproxy,
    "envoy": envoy,
    "vllm-router": router("vllm-router"),
    "smg": router("smg", "launch"),
    "sglang-router": router("sglang-router", "launch"),
    "litellm": litellm,
}
OURS = ("valve", "valve_aiohttp", "valve_workers")
ALL = tuple(name for name in COMMANDS if name != "valve_workers")  # that has as many cores as workers


def found(names: Sequence[str]) -> tuple[str, ...]:
    """Those that can be started here: every one but ours is the name of a program on the PATH."""
    return tuple(name for name in names if name in OURS or shutil.which(name))


@dataclass(frozen=True)
class Peer:
    """A running proxy, or the backend itself (`direct`)."""

    name: str
    port: int
    child: Child
    admin: Path | None = None

    def cpu_ns(self) -> int:
        """Processor time of all its threads and child processes so far."""
        return sum(task_cpu_ns(pid) for pid in session_members(self.child.process.pid))


async def start(
    name: str, backend: int, processes: Processes, cpus: frozenset[int], *, probe: bool = True
) -> Peer:
    """`probe` asks the backend through it; else that it listens is enough. Raises BenchError."""
    scratch = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=processes.scratch))
    site = Site(free_port(), backend, scratch)
    child = processes.start(name, COMMANDS[name](site), cpus)
    await ready(child, lambda: answers(site.port) if probe else listens(site.port))
    return Peer(name, site.port, child, site.admin if name.startswith("valve") else None)


async def answers(port: int) -> bool:
    """Raises BenchError when nobody listens."""
    return await healthy(Target(port=port))


async def listens(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True


def session_members(leader: int) -> list[int]:
    """The leader of a session and every process in it."""
    processes = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    return [pid for pid in processes if session_of(pid) == leader]


def session_of(pid: int) -> int:
    try:
        return os.getsid(pid)
    except ProcessLookupError:
        return 0


def task_cpu_ns(pid: int) -> int:
    """0 for one that has ended."""
    try:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
        return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks)
    except OSError:
        return 0
