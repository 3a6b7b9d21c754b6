"""How each kind of fault is done, and undone after its time."""
# ruff: noqa: ARG001 - all have one signature

from __future__ import annotations

import ctypes
import os
import random
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any

from valve_runtime import native
from valve_runtime.cgroup import own_cgroup

from . import limits
from .scenario import Step
from .stage import Stage

Generator = Callable[[Stage, Step, str], Iterator[None]]
KINDS: dict[str, Callable[[Stage, Step, str], AbstractContextManager[None]]] = {}


def kind(*names: str) -> Callable[[Generator], Generator]:
    """Registers how a fault is done: what comes before the yield begins it, what comes after ends it."""

    def register(generator: Generator) -> Generator:
        KINDS.update(dict.fromkeys(names, contextmanager(generator)))
        return generator

    return register


# ---- whole processes ----

TARGETS: dict[str, Callable[[Stage], list[int]]] = {
    "worker": lambda stage: stage.players.sidecar.worker_pids()[:1],
    "supervisor": lambda stage: [stage.players.sidecar.pid],
    "exporter": lambda stage: stage.players.sidecar.children("span_export"),
    "run": lambda stage: [stage.players.tenant.pid],
    "guardian": lambda stage: [stage.players.tenant.guardian()],
    "tenant": lambda stage: stage.players.tenant.members(),
    "rank": lambda stage: stage.ranks()[:1],
    "engine": lambda stage: [stage.players.engine.pid],
    "client": lambda stage: [stage.players.clients.pid],
}


@kind(*(f"kill_{name}" for name in TARGETS))
def kill(stage: Stage, step: Step, name: str) -> Iterator[None]:
    """A supervisor's workers see their requests off before they follow it. A job does not replace a rank."""
    stage.signal(TARGETS[name.removeprefix("kill_")](stage), signal.SIGKILL)
    if name == "kill_supervisor":
        stage.later(stage.end_requests)
    if name == "kill_rank":
        stage.later(stage.players.restart_tenant)
    yield


@kind(*(f"stop_{name}" for name in TARGETS))
def stop(stage: Stage, step: Step, name: str) -> Iterator[None]:
    pids = TARGETS[name.removeprefix("stop_")](stage)
    stage.signal(pids, signal.SIGSTOP)
    yield
    stage.signal(pids, signal.SIGCONT)


@kind("continue_tenant")
def continue_tenant(stage: Stage, step: Step, name: str) -> Iterator[None]:
    """Somebody continues again and again what the gate has stopped."""
    for _ in range(5):
        stage.signal(stage.players.tenant.members(), signal.SIGCONT)
        time.sleep(step.hold_s / 5)
    yield


@kind("restart_sidecar")
def restart_sidecar(stage: Stage, step: Step, name: str) -> Iterator[None]:
    stage.players.sidecar.process.send_signal(signal.SIGTERM)
    stage.expect_end(stage.players.sidecar.process)
    yield


@kind("restart_run")
def restart_run(stage: Stage, step: Step, name: str) -> Iterator[None]:
    stage.players.tenant.process.send_signal(signal.SIGTERM)
    stage.expect_end(stage.players.tenant.process)
    yield


# ---- what they need ----


@kind("no_files_worker", "no_files_run")
def no_files(stage: Stage, step: Step, name: str) -> Iterator[None]:
    """Not one descriptor more than it has."""
    with limits.lowered(TARGETS[name.removeprefix("no_files_")](stage), resource.RLIMIT_NOFILE, files_of):
        yield


@kind("no_memory_worker")
def no_memory(stage: Stage, step: Step, name: str) -> Iterator[None]:
    with limits.lowered(TARGETS["worker"](stage), resource.RLIMIT_AS, address_space_of):
        yield


def files_of(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))  # noqa: PTH208


def address_space_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[0]) * resource.getpagesize()


@kind("starve_worker", "starve_run")
def starve(stage: Stage, step: Step, name: str) -> Iterator[None]:
    """A twentieth of a core."""
    with limits.in_group("cpu", TARGETS[name.removeprefix("starve_")](stage), limits.A_TWENTIETH):
        yield


@kind("no_processes")
def no_processes(stage: Stage, step: Step, name: str) -> Iterator[None]:
    tenant = stage.players.tenant
    with limits.in_group("pids", [tenant.pid, *tenant.tree()], {"pids.max": "1"}):
        yield


@kind("busy_machine")
def busy_machine(stage: Stage, step: Step, name: str) -> Iterator[None]:
    """More threads than cores, all of the highest priority that is not real-time. They end by themselves, for
    whoever is to end them may get no time to.
    """
    code = "import time\nend_s = time.monotonic() + 3\nwhile time.monotonic() < end_s: pass"
    command = ["nice", "-n", "-20", sys.executable, "-c", code]
    hogs = [subprocess.Popen(command) for _ in range((os.cpu_count() or 1) + 1)]
    yield
    for hog in hogs:
        hog.kill()
        hog.wait()


@kind("full_disk")
def full_disk(stage: Stage, step: Step, name: str) -> Iterator[None]:
    with limits.full(stage.players.directory):
        yield


@kind("full_log")
def full_log(stage: Stage, step: Step, name: str) -> Iterator[None]:
    """Nobody reads what the sidecar says, and the pipe is full."""
    sidecar = stage.players.sidecar
    sidecar.listens.clear()
    limits.fill_pipe(Path(f"/proc/{sidecar.pid}/fd/2"))
    yield
    sidecar.listens.set()


@kind("stuck_admin")
def stuck_admin(stage: Stage, step: Step, name: str) -> Iterator[None]:
    """Watchers that ask for everything and read nothing."""
    host, _, port = stage.players.sidecar.admin.removeprefix("http://").partition(":")
    paths = ("live", "events?since=0", "metrics", "state") * 4 if port else ()
    watchers = [limits.ask_without_reading((host, int(port)), path) for path in paths]
    yield
    for watcher in watchers:
        watcher.close()


@kind("clock_forward", "clock_back")
def jump(stage: Stage, step: Step, name: str) -> Iterator[None]:
    """CLOCK_REALTIME is an hour to a month off, for sidecar, `valve run` and tenant."""
    seconds = random.Random(step.salt).randrange(3600, 30 * 86400)
    sign = 1 if name == "clock_forward" else -1
    stage.players.jump.write_bytes((sign * seconds).to_bytes(8, "little", signed=True))
    yield
    stage.players.jump.write_bytes(bytes(8))


# ---- the tenant's ways out ----


@kind("fork_tenant")
def fork_tenant(stage: Stage, step: Step, name: str) -> Iterator[None]:
    stage.tell_tenant(4, 1)
    yield
    stage.tell_tenant(4, 0)


@kind("hinder_tenant")
def hinder_tenant(stage: Stage, step: Step, name: str) -> Iterator[None]:
    """A thread sleeps in the kernel where neither freezer nor signal finds it."""
    stage.hinder(True)
    yield
    stage.hinder(False)


@kind("thaw_tenant")
def thaw_tenant(stage: Stage, step: Step, name: str) -> Iterator[None]:
    for path in own_cgroup().glob(f"valve-*-{stage.players.tenant.pid}"):
        (path / "cgroup.freeze").write_text("0")
    yield


@kind("escape_tenant")
def escape_tenant(stage: Stage, step: Step, name: str) -> Iterator[None]:
    for pid in stage.players.tenant.members()[-1:]:
        (own_cgroup() / "cgroup.procs").write_text(str(pid))
    yield


@kind("rm_refuses", "rm_delays")
def rm(stage: Stage, step: Step, name: str) -> Iterator[None]:
    refuses = name == "rm_refuses"
    stage.players.tenant.switch.write_text(
        "refuse disable=0x1b,schedule=0x56\n" if refuses else "delay disable=100000\n"
    )
    yield
    stage.players.tenant.switch.write_text("")


# ---- engine and clients ----


@kind("engine_resets", "engine_half_answers", "engine_cuts_head", "engine_babbles", "engine_hangs")
def bad_engine(stage: Stage, step: Step, name: str) -> Iterator[None]:
    for _ in range(2):
        stage.send(defect=name.removeprefix("engine_"))
    yield


@kind("clients_leave")
def clients_leave(stage: Stage, step: Step, name: str) -> Iterator[None]:
    leavers = [stage.send(hold=True) for _ in range(8)]
    time.sleep(step.hold_s / 2)
    for leaver in leavers:
        stage.players.clients.leave(leaver)
    yield


@kind("client_dribbles")
def client_dribbles(stage: Stage, step: Step, name: str) -> Iterator[None]:
    stage.send(dribble=True, padding="x" * 200)
    yield


# ---- the segment ----


@kind("flip_generation")
def flip_generation(stage: Stage, step: Step, name: str) -> Iterator[None]:
    with limits.mapped(stage.players.directory / "holders") as memory:
        at = native.HoldersFile.generation.offset
        memory[at : at + 4] = step.salt.to_bytes(4, "little")
    yield


@kind("scribble_header")
def scribble_header(stage: Stage, step: Step, name: str) -> Iterator[None]:
    """Magic, version and boot id are noise; whoever has the file open goes on."""
    with limits.scribbled(stage.players.directory / "holders", range(0, 40), step.salt):
        yield


@kind("scribble_holder", "tear_holder")
def scribble_holder(stage: Stage, step: Step, name: str) -> Iterator[None]:
    """A living row is noise, the whole of it or its first half (a write that was cut). Its owner mends it."""
    size = ctypes.sizeof(native.HolderRow)
    begin = native.HoldersFile.rows.offset + size * first_row(stage.observer.holders)
    share = size if name == "scribble_holder" else size // 2
    with limits.mapped(stage.players.directory / "holders") as memory:
        memory[begin : begin + share] = limits.noise(share, step.salt)
    yield


@kind("scribble_tenant")
def scribble_tenant(stage: Stage, step: Step, name: str) -> Iterator[None]:
    """The next change of the gate writes what was scribbled over meanwhile."""
    size = ctypes.sizeof(native.TenantRow)
    begin = native.TenantsFile.rows.offset + size * first_row(stage.observer.tenants)
    with limits.scribbled(stage.players.directory / "tenants", range(begin, begin + size), step.salt):
        yield
    stage.later(lambda: stage.wait_ended(stage.send(tokens=2)))


@kind("full_tables")
def full_tables(stage: Stage, step: Step, name: str) -> Iterator[None]:
    """Not a row is free for whoever comes now."""
    with limits.registered(stage.players.directory):
        yield


@kind("locked_segment")
def locked_segment(stage: Stage, step: Step, name: str) -> Iterator[None]:
    """Somebody holds a lock on all that is not locked yet: of both files, and of their directory."""
    with limits.locked(stage.players.directory):
        yield


def first_row(rows: Sequence[Any]) -> int:
    """Where nobody lives the first row is as good as any."""
    return int(rows[0].row) if rows else 0


@contextmanager
def do(stage: Stage, step: Step) -> Iterator[None]:
    """The step's faults, one upon the other, as long as the context lasts."""
    with ExitStack() as stack:
        for name in dict.fromkeys(step.kinds):
            stack.enter_context(KINDS[name](stage, step, name))
        yield
