"""`valve run`: runs a command as an offline tenant. Its whole process tree obeys the gate until the last of
it ends.

This process is never stopped itself; the agent is a native thread in it. Standard streams, process group
and session are the caller's, so a terminal's ^C reaches the command by itself; what is sent to `valve run`
alone is passed on. Order matters: row, cgroup, command behind its barrier and guardian, record, agent; only
when the agent has applied what the gate says does the command execute anything.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from . import cgroup as cgroups
from . import kv_pool, native, shim, tree
from .agent import FreezerAgent, JobAgent
from .cgroup import Cgroup, CgroupUnavailableError
from .errors import TenantError, ValveRuntimeError
from .kv_pool import PoolOptions
from .namespace import own_pid_namespace, proc_is_ours
from .node import Node
from .notice import say
from .progress import Metrics, Progress
from .record import Record
from .seat import TenantIdentity, TenantSeat
from .spawn import Family, SignalMask, allow_descriptors, spawn
from .watch import WATCHED, Watch


@dataclass(frozen=True, slots=True)
class RunOptions:
    """`job`: None for the command's name and our pid. `devices`: as valve_runtime.devices.resolve gives
    them. `pinned`: the command is to see no other GPU. `environment`: added to the command's.
    `max_stopped_s`: how long it may stay stopped (docs/adr/0007); 0 = for ever. `pool`: where its KV lies.
    `metrics`: where its engine tells how many tokens it has computed.
    """

    job: str | None
    devices: tuple[str, ...]
    rank: int
    runtime_dir: Path
    pinned: bool = False
    environment: Mapping[str, str] = field(default_factory=dict)
    max_stopped_s: float = 0
    pool: PoolOptions | None = None
    metrics: Metrics | None = None


def run(command: list[str], options: RunOptions) -> int:
    """Returns the command's exit code (128 + n after signal n; 127 not found, 126 not executable).

    Raises SegmentError (no segment, no permission), TenantError (no free row, cannot be started or frozen).
    """
    if not proc_is_ours():
        raise TenantError(
            "/proc is of another pid namespace, so nothing can be gated here: mount it anew (unshare "
            "--mount-proc)"
        )
    _check_pidfds()
    job = options.job or f"{Path(command[0]).name}-{os.getpid()}"
    with TenantSeat(_identity(job, options)) as seat, _blocked_signals() as (signals, mask):
        _tell_if_ungated(seat.node)
        with _cgroup(job) as cgroup:
            record = _describe(job, options.runtime_dir, cgroup)
            order = _order(job, options)
            with _pool(command[0], options) as pool:
                environment = os.environ | options.environment | pool
                tenant = _TenantRun(seat, cgroup, record, order, options.metrics)
                return tenant.run(command, environment, signals, mask)


def _check_pidfds() -> None:
    """By its number, another process might be signalled than was meant. Raises TenantError."""
    try:
        with os.fdopen(os.pidfd_open(os.getpid()), "rb") as pidfd:
            signal.pidfd_send_signal(pidfd.fileno(), 0)
    except OSError as error:
        raise TenantError(
            f"no process can be signalled safely here (pidfd: {error.strerror}), so nothing was started: it "
            "takes Linux 5.3, and a seccomp profile that allows pidfd_open and pidfd_send_signal"
        ) from error


def _identity(job: str, options: RunOptions) -> TenantIdentity:
    max_stopped_ns = int(options.max_stopped_s * 1e9)
    return TenantIdentity(options.runtime_dir, job, options.rank, options.devices, max_stopped_ns)


def _tell_if_ungated(node: Node) -> None:
    """No sidecar may also mean another runtime directory than the sidecar's; nothing else would tell."""
    if not any(holder.alive for holder in node.holders()):
        say(f"no sidecar in {node.directory} yet: runs ungated until one starts")


@contextlib.contextmanager
def _blocked_signals() -> Iterator[tuple[frozenset[signal.Signals], SignalMask]]:
    """(those to wait for, the mask before). What our caller ignores (nohup) is left ignored."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signals = frozenset(each for each in WATCHED if signal.getsignal(each) is not signal.SIG_IGN)
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    try:
        yield signals, mask
    finally:
        while signal.sigtimedwait(signals, 0):
            pass  # meant for a tree that is gone
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


@contextlib.contextmanager
def _cgroup(job: str) -> Iterator[Cgroup | None]:
    """Without one the tree is stopped by signals."""
    try:
        made = Cgroup.create(_file_name(job))
    except CgroupUnavailableError:
        yield None
        return
    with made:
        yield made


@contextlib.contextmanager
def _pool(command: str, options: RunOptions) -> Iterator[dict[str, str]]:
    """What the command's environment needs for its KV pool. Without the shim there is none."""
    if options.pool is None:
        yield {}
        return
    obstacle = shim.why_not_preloadable(command)
    if obstacle:
        raise TenantError(f"{command} can have no KV pool: {obstacle.reason}")
    table = kv_pool.make_table(options.runtime_dir, options.pool)
    try:
        yield kv_pool.environment(options.pool, table)
    finally:
        table.unlink(missing_ok=True)


@contextlib.contextmanager
def _progress(seat: TenantSeat, metrics: Metrics | None) -> Iterator[None]:
    if metrics is None:
        yield
        return
    progress = Progress(metrics, seat.set_tokens)
    progress.start()
    try:
        yield
    finally:
        progress.stop()


def _describe(job: str, runtime_dir: Path, cgroup: Cgroup | None) -> Record:
    return Record(
        job_id=f"{_file_name(job)}-{os.getpid()}-{secrets.token_hex(4)}",
        runtime_dir=str(runtime_dir.absolute()),
        cgroup=str(cgroup.path) if cgroup else "",
        runner=tree.Process(os.getpid(), tree.start_ticks(os.getpid())),
        pid_namespace=own_pid_namespace(),
    )


def _order(job: str, options: RunOptions) -> shim.Order | None:
    """None for a job that uses no GPU."""
    if not shim.is_gpu_job(options.devices):
        return None
    return shim.Order(options.runtime_dir, job, os.getpid(), options.devices, options.pinned)


def _file_name(job: str) -> str:
    return "".join(c if c.isascii() and (c.isalnum() or c in "-_.") else "_" for c in job)[:64]


class _TenantRun:
    """One tenant from its first process to its last."""

    def __init__(
        self,
        seat: TenantSeat,
        cgroup: Cgroup | None,
        record: Record,
        order: shim.Order | None = None,
        metrics: Metrics | None = None,
    ) -> None:
        self._seat, self._cgroup, self._record, self._order = seat, cgroup, record, order
        self._metrics = metrics
        self._agent: FreezerAgent | None = None
        self._problem = ""
        self._can_record = True
        self._guardian_pid = 0

    def run(
        self,
        command: list[str],
        environment: dict[str, str],
        signals: frozenset[signal.Signals],
        mask: SignalMask,
    ) -> int:
        environment = environment | {tree.MARKER: self._record.job_id}
        if self._order:
            environment |= self._order.visibility()
            environment |= shim.environment(self._order, command[0], environment)
        family = self._spawn(command, environment, mask)
        self._guardian_pid = family.guardian_pid
        self._confine(family)
        guardian = tree.Process(family.guardian_pid, tree.start_ticks(family.guardian_pid))
        self._record = replace(self._record, guardian=guardian)
        self._remember(tree.identify([family.main_pid]))
        try:
            return self._attend(family, signals)
        except BaseException:
            self.kill()
            raise
        finally:
            self._record.remove()

    def _spawn(self, command: list[str], environment: dict[str, str], mask: SignalMask) -> Family:
        try:
            return spawn(command, environment, mask, self._record.encode())
        except OSError as error:
            reason = f"cannot start {command[0]}: {error.strerror}"
            raise TenantError(f"{reason}; see `ulimit -u`, `ulimit -n` and pids.max") from error

    def _confine(self, family: Family) -> None:
        """Into the cgroup, before it has any children."""
        allow_descriptors()
        if self._cgroup is None:
            return
        try:
            self._cgroup.add(family.main_pid)
        except OSError as error:
            say(f"cannot use {self._cgroup.path}: {error.strerror}; stopping it by signals")
            self._cgroup = None

    def _attend(self, family: Family, signals: frozenset[signal.Signals]) -> int:
        idle = self._cgroup is not None and self._order is None
        watch = Watch(family, self, signals, None if idle else self._refresh)
        self._agent = self._start_agent()
        try:
            self._agent.wait_ready()
            family.release()
            with _progress(self._seat, self._metrics):  # has a thread: not before the forks
                return watch.wait()
        finally:
            self._stop_agent()

    def _start_agent(self) -> FreezerAgent:
        cgroup = self._cgroup.path if self._cgroup else None
        if self._order:
            return JobAgent(self._seat.node, self._seat.tenant, cgroup, self._guardian_pid)
        return FreezerAgent(self._seat.tenant, cgroup, self._guardian_pid)

    def _stop_agent(self) -> None:
        if self._agent is not None:
            self._agent.stop()
            self._agent = None

    def look_after_seat(self) -> None:
        """In a segment that somebody has removed nobody gates the tree any more: joins the next one, and may
        run meanwhile. Raises TenantError if it could not be gated there.
        """
        if not self._seat.removed:
            return
        try:
            former = self._seat.take_again()
        except ValveRuntimeError as error:
            self._tell_once(f"somebody removed the node segment: runs ungated ({error})")
            return
        self._stop_agent()
        former.close()
        self._agent = self._start_agent()
        self._problem = ""
        say(f"somebody removed the node segment in {self._seat.node.directory}: joined it anew")
        members, self._record = self._record.members, replace(self._record, members=())
        self._can_record = True
        self._remember(members)

    def _tell_once(self, problem: str) -> None:
        if problem != self._problem:
            say(problem)
        self._problem = problem

    def _refresh(self, members: tuple[tree.Process, ...]) -> None:
        """Now and then, with the tree's processes."""
        if self._cgroup is None:
            self._remember(members)
        if isinstance(self._agent, JobAgent):
            self._agent.look_for_unshimmed(members)

    def _remember(self, members: tuple[tree.Process, ...]) -> None:
        """Writes the recovery record, if it has changed. Without one we go on, but say so once."""
        if members == self._record.members or not self._can_record:
            return
        self._record = replace(self._record, members=members)
        try:
            self._record.write()
        except OSError as error:
            self._can_record = False
            say(f"no recovery record ({self._record.path}: {error.strerror}); going on without")

    def stop_period(self) -> int:
        """Counts resumptions: each is acknowledged once, whatever happened while it was stopped."""
        rows = [view for view in self._seat.node.tenants() if view.row == self._seat.tenant.row]
        return next((row.acknowledgements - row.stops + 1 for row in rows if row.state != "running"), 0)

    def kill(self) -> None:
        """Frozen or not; whatever is in the cgroup, and every descendant."""
        if self._cgroup is not None:
            cgroups.kill(self._cgroup.path)
        native.library().tree_signal(os.getpid(), self._guardian_pid, signal.SIGKILL)
