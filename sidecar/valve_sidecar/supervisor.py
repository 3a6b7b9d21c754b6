"""Several workers on one port (SO_REUSEPORT): opens their sockets, starts them, starts the dead and the hung
ones again, merges what they tell.
"""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from socket import socket
from typing import Any

import httpx
import orjson

from .access import read_token
from .address import Address
from .admin import AdminServer
from .config import ServeConfig
from .errors import SidecarError
from .events import EventLog
from .handed import Handed
from .lifecycle import live
from .listener import Listener, share
from .member import Order
from .minute import merge_shares
from .slices import merge_budgets
from .sources import Sources
from .span_feed import exporting
from .telemetry import merge_counters

log = logging.getLogger(__name__)

RESTART_S = 1.0  # a worker that dies at once must not spin
ANSWER_S = 5.0  # longer than a worker waits for its engine
END_S = 10.0  # beyond the grace, before a worker that does not end is killed
COLLECT_S = 1.0
MISSES = 3  # unanswered questions in a row, of a second to ANSWER_S each: it is hung
BATCH = 1_000  # events per question to a worker


class Member:
    """One worker's process, as the supervisor sees it."""

    def __init__(self, number: int, path: Path, listener: Listener) -> None:
        self.number, self.path, self.listener = number, path, listener
        transport = httpx.AsyncHTTPTransport(uds=str(path), verify=False)
        self._client = httpx.AsyncClient(transport=transport, base_url="http://worker", timeout=ANSWER_S)
        self.process: asyncio.subprocess.Process | None = None
        self.events_read = self.deaths = 0
        self.counters: dict[str, Any] = {}  # as last told
        self._missed: int | None = None  # questions in a row; None: it has not responded yet

    async def start(self, order: Order) -> None:
        """Raises OSError. Its standard input is its lifeline: it ends when we do."""
        self.events_read, self._missed = 0, None
        self.path.unlink(missing_ok=True)
        self.process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "valve_sidecar.member",
            order.encode(),
            stdin=asyncio.subprocess.PIPE,
            pass_fds=order.listen,
        )

    async def ask(self, path: str) -> httpx.Response | None:
        """None if it does not answer."""
        try:
            return await self._client.get(path)
        except httpx.HTTPError:
            return None

    async def end_if_hung(self) -> None:
        """What has responded once has to do so again and again. Its connections are lost by then anyway."""
        answer = await self.ask("/healthz")
        if answer is not None and answer.is_success:
            self._missed = 0
        elif self._missed is not None:
            self._missed += 1
        if self._missed == MISSES and self.runs:
            log.error("worker %d does not respond; killing it", self.number)
            self.signal(signal.SIGKILL)

    @property
    def runs(self) -> bool:
        return self.process is not None and self.process.returncode is None

    def signal(self, number: signal.Signals) -> None:
        if self.process is not None and self.runs:
            self.process.send_signal(number)

    async def wait(self) -> None:
        if self.process is not None:
            await self.process.wait()

    async def end(self, grace_s: float) -> None:
        self.listener.close()
        self.signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(self.wait(), grace_s)
        except TimeoutError:
            self.signal(signal.SIGKILL)
            await self.wait()
        await self._client.aclose()
        self.path.unlink(missing_ok=True)


async def supervise(config: ServeConfig, runtime_dir: Path, handed: Handed) -> None:
    """Until SIGTERM or SIGINT; then every worker drains. Raises SidecarError if workers do not come up."""
    token = read_token(config.admin_token_file)
    listeners = share(Address.parse(config.listen), config.workers, handed.listen)
    config = replace(config, listen=str(listeners[0].bound), runtime_dir=str(runtime_dir))
    with _socket_directory(config.runtime_dir) as directory:
        members = [Member(i, directory / f"{i}.sock", each) for i, each in enumerate(listeners)]
        supervisor = Supervisor(config, members)
        told = Sources(supervisor.state, supervisor.events, supervisor.problems)
        async with exporting(config, told) as sources:
            admin = AdminServer(Address.parse(config.admin), sources, handed.admin, token)
            await live(supervisor, admin, config, handed)


class Supervisor:
    """Owns no traffic: workers hold their own rows in the node segment, so the one rule merges them."""

    def __init__(self, config: ServeConfig, members: list[Member]) -> None:
        self._config, self._members = config, members
        self._tasks: list[asyncio.Task[None]] = []
        self._log = EventLog()
        self._collecting = asyncio.Lock()
        self._tenant_seen_ns: dict[tuple[int, int], int] = {}  # (row, pid) -> newest event taken
        self._retired: list[dict[str, Any]] = []  # counters of workers that died, as last told

    async def start(self) -> None:
        """Raises SidecarError if a worker does not come up."""
        self._tasks = [asyncio.create_task(self._keep(member)) for member in self._members]
        try:
            await self._wait_ready()
        except SidecarError:
            await self.drain()
            raise
        self._tasks.append(asyncio.create_task(self._collect_for_ever()))

    async def retire(self) -> None:
        """Every worker serves whoever is connected, and ends."""
        await self._stop_tasks()
        for member in self._members:
            member.listener.leave()
            member.signal(signal.SIGUSR2)
        waiting = asyncio.gather(*(member.wait() for member in self._members))
        with suppress(TimeoutError):
            await asyncio.wait_for(waiting, self._config.grace_s)

    async def drain(self) -> None:
        """Every worker does, and ends."""
        await self._stop_tasks()
        await asyncio.gather(*(member.end(self._config.grace_s + END_S) for member in self._members))

    async def responds(self) -> bool:
        """Workers that hang are this one's business."""
        return True

    @property
    def sockets(self) -> list[socket]:
        """Each once, although workers may share."""
        every = [sock for member in self._members for sock in member.listener.sockets]
        return list({os.fstat(sock.fileno()).st_ino: sock for sock in every}.values())

    @property
    def listening_on(self) -> str:
        return self._config.listen

    async def _keep(self, member: Member) -> None:
        listen = tuple(sock.fileno() for sock in member.listener.sockets)
        order = Order(self._config, member.number, f"unix:{member.path}", listen)
        while True:
            try:
                await member.start(order)
            except OSError as error:
                log.error("cannot start worker %d: %s", member.number, error.strerror)
            else:
                assert member.process is not None
                code = await member.process.wait()
                log.error("worker %d ended with %d; starting it again", member.number, code)
            member.deaths += 1
            self._retire(member)
            await asyncio.sleep(RESTART_S)

    def _retire(self, member: Member) -> None:
        if member.counters:
            self._retired.append(member.counters)
            member.counters = {}

    async def _wait_ready(self) -> None:
        # Other processes: there is no event to await.
        while not await self._all_listen():
            for member in self._members:
                if member.deaths:
                    raise SidecarError(f"worker {member.number} could not start; its message is above")
            await asyncio.sleep(0.05)

    async def _all_listen(self) -> bool:
        states = [orjson.loads(answer.content) for _, answer in await self._ask_all("/state")]
        return len(states) == len(self._members) and all(state["listening"] for state in states)

    async def _stop_tasks(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # ---- merged answers ----

    async def state(self) -> dict[str, Any]:
        """Raises SidecarError if no worker answers."""
        states = []
        for member, answer in await self._ask_all("/state"):
            if answer.is_success:
                states.append(orjson.loads(answer.content))
                member.counters = states[-1]["counters"]
        if not states:
            raise SidecarError("no worker answers")
        return self._merge(states)

    def _merge(self, states: list[dict[str, Any]]) -> dict[str, Any]:
        gates = {state["gate"] for state in states}
        counters = [member.counters for member in self._members if member.counters]
        return states[0] | {
            "pid": os.getpid(),
            "gate": next(gate for gate in ("closed", "cooling", "slice", "open") if gate in gates),
            "gated": all(state["gated"] for state in states),
            "in_flight": sum(state["in_flight"] for state in states),
            "cooldown_ms": max(state["cooldown_ms"] for state in states),
            "budget": merge_budgets(state["budget"] for state in states),
            "memory": merge_memory([state["memory"] for state in states]),
            "shares": merge_shares(state["shares"] for state in states),
            "counters": merge_counters(counters + self._retired),
            "workers": [
                {key: state[key] for key in ("pid", "gate", "gated", "in_flight", "counters")}
                for state in states
            ],
        }

    async def events(self, since: int, limit: int) -> dict[str, Any]:
        await self._collect()
        return self._log.since(since, limit)

    async def problems(self) -> list[str]:
        answers = await self._ask_all("/readyz")
        problems = [
            f"worker {member.number}: {line}"
            for member, answer in answers
            if not answer.is_success
            for line in answer.text.splitlines()
        ]
        if len(answers) < len(self._members):
            problems.append(f"only {len(answers)} of {len(self._members)} workers answer")
        return problems

    async def _collect_for_ever(self) -> None:
        while True:
            await asyncio.sleep(COLLECT_S)
            await asyncio.gather(*(member.end_if_hung() for member in self._members))
            await self._collect()

    async def _collect(self) -> None:
        """Takes over what the workers have logged since the last time, in order of time."""
        async with self._collecting:
            fresh = [event for member in self._members for event in await self._read_events(member)]
            for event in sorted(fresh, key=lambda event: int(event["t_ns"])):
                del event["seq"]
                self._log.add(event)

    async def _read_events(self, member: Member) -> list[dict[str, Any]]:
        fresh: list[dict[str, Any]] = []
        while True:
            answer = await member.ask(f"/events?since={member.events_read}&limit={BATCH}")
            if answer is None or not answer.is_success:
                return fresh
            content = orjson.loads(answer.content)
            member.events_read = content["next"]
            fresh += [event for event in content["events"] if self._is_new(event)]
            if len(content["events"]) < BATCH:
                return fresh

    def _is_new(self, event: dict[str, Any]) -> bool:
        """Every worker sees every tenant: the first one that tells counts."""
        if event["kind"] not in ("stopped", "resumed", "breather"):
            return True
        key = (event["row"], event["pid"])
        if event["t_ns"] <= self._tenant_seen_ns.get(key, 0):
            return False
        self._tenant_seen_ns[key] = event["t_ns"]
        return True

    async def _ask_all(self, path: str) -> list[tuple[Member, httpx.Response]]:
        answers = await asyncio.gather(*(member.ask(path) for member in self._members))
        return [(member, a) for member, a in zip(self._members, answers, strict=True) if a is not None]


def merge_memory(workers: list[list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """Of each device what the worker that decides tells, else what any does."""
    merged: dict[str, dict[str, Any]] = {}
    for told in (device for devices in workers for device in devices):
        if told["decides"] or told["device"] not in merged:
            merged[told["device"]] = told
    return list(merged.values())


@contextmanager
def _socket_directory(runtime_dir: str) -> Iterator[Path]:
    """For the workers' admin sockets. Raises SidecarError."""
    _remove_stale(Path(runtime_dir))
    try:
        directory = Path(tempfile.mkdtemp(prefix=f"sidecar-{os.getpid()}-", dir=runtime_dir))
    except OSError as error:
        raise SidecarError(f"cannot make a directory in {runtime_dir}: {error.strerror}") from error
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _remove_stale(runtime_dir: Path) -> None:
    """What supervisors that were killed have left."""
    for directory in runtime_dir.glob("sidecar-*"):
        pid = directory.name.split("-")[1]
        if pid.isdigit() and not Path("/proc", pid).exists():
            shutil.rmtree(directory, ignore_errors=True)
