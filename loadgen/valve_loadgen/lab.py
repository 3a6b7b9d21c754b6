"""Owns the bench's set-up: which processes stand where, and how to reach and read them."""

import asyncio
import contextlib
import re
import socket
import sys
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from valve_loadgen.client import Client
from valve_loadgen.cpus import Placement, available, cores, kept_on, place
from valve_loadgen.engines import ENGINES, Engine
from valve_loadgen.errors import BenchError
from valve_loadgen.events import Event
from valve_loadgen.processes import Child, Processes, ready
from valve_loadgen.session import SEPARATOR
from valve_loadgen.sidecar_admin import SidecarAdmin
from valve_loadgen.target import Target

SERVING = re.compile(r"valve: serving on (\S+)")
IDLE_TIMEOUT_S = 30.0
ENGINE_START_S = 300.0  # vLLM and SGLang take half a minute on a core of their own


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Lab:
    """Starts engines, sidecar and tenants, placed on cores, and reads the sidecar's admin socket."""

    def __init__(self, processes: Processes, placement: Placement) -> None:
        self.processes, self.placement = processes, placement
        self.commands: dict[str, str] = {}
        self._admin = self.admin_of("admin")

    async def start_engine(
        self, name: str, threads: int = 1, tenant: bool = False, *more: str, engine: str = "llamacpp"
    ) -> Target:
        """A real engine on the engines' cores; as a tenant it runs under `valve run`."""
        kind, target = ENGINES[engine], Target(port=free_port())
        command = kind.start(target.port, threads, cores(self.placement.engines), more)
        run = [sys.executable, "-m", "valve_sidecar", "run", "--job", name, "--"] if tenant else []
        child = self.start(name, [*run, *command], self.placement.others if tenant else None)
        await ready(child, lambda: healthy(target, kind.ready_path), ENGINE_START_S)
        return target

    async def start_together(self, name: str, members: Sequence[tuple[str, Sequence[str]]]) -> list[Target]:
        """Engines that share one session; of each its kind and its command's prefix. Raises BenchError."""
        kinds, targets = [ENGINES[kind] for kind, _ in members], [Target(port=free_port()) for _ in members]
        command = [sys.executable, "-m", "valve_loadgen.session", str(self.processes.logs / name)]
        for kind, target, (_, prefix) in zip(kinds, targets, members, strict=True):
            command += [SEPARATOR, *prefix, *kind.start(target.port, 1, cores(self.placement.engines))]
        child = self.start(name, command, None)
        for kind, target in zip(kinds, targets, strict=True):
            await ready(child, partial(healthy, target, kind.ready_path), ENGINE_START_S)
        return targets

    async def start_backend(self, name: str, cpus: frozenset[int], *more: str) -> Target:
        """The constant engine, which computes nothing, on `cpus`."""
        port = free_port()
        command = [sys.executable, "-m", "valve_loadgen.constant_engine", "--port", str(port), *more]
        child = self.start(name, command, cpus)
        target = Target(port=port)
        await ready(child, lambda: healthy(target))
        return target

    async def start_sidecar(
        self, upstream: Target, *more: str, name: str = "sidecar", admin: SidecarAdmin | None = None
    ) -> Target:
        """`valve serve` before `upstream`; the address on which it listens. `admin`: not the lab's own."""
        admin = admin or self._admin
        command = [sys.executable, "-m", "valve_sidecar", "serve", "--upstream", str(upstream)]
        command += ["--listen", "127.0.0.1:0", "--admin", f"unix:{admin.path}", *more]
        child = self.start(name, command, self.placement.others)
        await ready(child, admin.ready)
        return _serving_address(child)

    def start(self, name: str, command: Sequence[str], cpus: frozenset[int] | None) -> Child:
        """A process on `cpus` (ours if None); its command goes into the report."""
        self.commands[name] = " ".join(command).replace(sys.executable, "python")
        return self.processes.start(name, command, cpus)

    def admin_of(self, name: str) -> SidecarAdmin:
        """For another sidecar; the caller closes it."""
        return SidecarAdmin(self.processes.scratch / f"{name}.sock")

    async def state(self) -> dict[str, Any]:
        """The sidecar's /state."""
        return await self._admin.state()

    async def new_events(self) -> list[Event]:
        """As SidecarAdmin's."""
        return await self._admin.new_events()

    async def wait_for(self, what: str, condition: str, value: object, timeout_s: float = 10.0) -> None:
        """As SidecarAdmin's."""
        await self._admin.wait_for(what, condition, value, timeout_s)

    def close(self) -> None:
        self._admin.close()


@contextlib.contextmanager
def opened_lab(logs: Path | None = None, engine_cores: int = 1) -> Iterator[Lab]:
    """A lab on this machine's cores; every process of it is ended when the context is left."""
    placement = place(available(), engine_cores)
    with (
        Processes(logs) as processes,
        kept_on(placement.others),
        contextlib.closing(Lab(processes, placement)) as lab,
    ):
        yield lab


async def healthy(target: Target, path: str = "/health") -> bool:
    """Whether the engine answers `path` with 200. Raises BenchError when it cannot be reached."""
    client = Client(target)
    try:
        status, _body = await client.get(path)
        return status == 200
    finally:
        client.close()


async def idle(target: Target, engine: Engine) -> None:
    """Waits until the engine computes nothing (cancelled requests run on for a while)."""
    client = Client(target)
    deadline_s = time.monotonic() + IDLE_TIMEOUT_S
    try:
        while engine.computing((await client.get(engine.load_path))[1]):
            if time.monotonic() > deadline_s:
                raise BenchError(
                    f"the engine at {target} is still busy {IDLE_TIMEOUT_S:g} s after its last request"
                )
            await asyncio.sleep(0.02)
    finally:
        client.close()


def _serving_address(child: Child) -> Target:
    found = SERVING.search(child.log.read_text(errors="replace"))
    if not found:
        raise BenchError(f"`valve serve` did not say where it serves; see {child.log}")
    return Target.parse(found[1])
