"""Several workers on one port (SO_REUSEPORT): starts them, starts the dead ones again, merges what they
tell.
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
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import orjson

from .address import Address
from .admin import AdminServer
from .config import ServeConfig
from .errors import SidecarError
from .events import EventLog
from .lifecycle import print_ready, stop_event
from .member import Order
from .sources import Sources
from .span_feed import exporting
from .telemetry import merge_counters
from .worker import reserve_port

log = logging.getLogger(__name__)

RESTART_S = 1.0  # a worker that dies at once must not spin
ANSWER_S = 5.0  # longer than a worker waits for its engine
END_S = 10.0  # beyond the grace, before a worker that does not end is killed
COLLECT_S = 1.0
BATCH = 1_000  # events per question to a worker


class Member:
    """One worker's process, as the supervisor sees it."""

    def __init__(self, number: int, path: Path) -> None:
        self.number, self.path = number, path
        transport = httpx.AsyncHTTPTransport(uds=str(path), verify=False)
        self._client = httpx.AsyncClient(transport=transport, base_url="http://worker", timeout=ANSWER_S)
        self.process: asyncio.subprocess.Process | None = None
        self.events_read = self.deaths = 0
        self.counters: dict[str, Any] = {}  # as last told

    async def start(self, order: Order) -> None:
        """Raises OSError. Its standard input is its lifeline: it ends when we do."""
        self.events_read = 0
        self.path.unlink(missing_ok=True)
        self.process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "valve_sidecar.member", order.encode(), stdin=asyncio.subprocess.PIPE
        )

    async def ask(self, path: str) -> httpx.Response | None:
        """None if it does not answer."""
        try:
            return await self._client.get(path)
        except httpx.HTTPError:
            return None

    async def end(self, grace_s: float) -> None:
        process = self.process
        if process is not None and process.returncode is None:
            process.send_signal(signal.SIGTERM)
            try:
                await asyncio.wait_for(process.wait(), grace_s)
            except TimeoutError:
                process.kill()
                await process.wait()
        await self._client.aclose()
        self.path.unlink(missing_ok=True)


class Supervisor:
    """Owns no traffic: workers hold their own rows in the node segment, so the one rule merges them."""

    def __init__(self, config: ServeConfig, runtime_dir: Path) -> None:
        self._config = replace(config, runtime_dir=str(runtime_dir))
        self._members: list[Member] = []
        self._log = EventLog()
        self._collecting = asyncio.Lock()
        self._tenant_seen_ns: dict[tuple[int, int], int] = {}  # (row, pid) -> newest event taken
        self._retired: list[dict[str, Any]] = []  # counters of workers that died, as last told

    async def run(self) -> None:
        """Until SIGTERM or SIGINT; then every worker drains. Raises SidecarError if workers do not come
        up."""
        stop = stop_event()
        reserved, listen = reserve_port(Address.parse(self._config.listen))
        self._config = replace(self._config, listen=str(listen))
        told = Sources(self.state, self.events, self.problems)
        with reserved, _socket_directory(self._config.runtime_dir) as directory:
            self._members = [Member(i, directory / f"{i}.sock") for i in range(self._config.workers)]
            async with exporting(self._config, told) as sources:
                await self._serve(AdminServer(Address.parse(self._config.admin), sources), stop)

    async def _serve(self, admin: AdminServer, stop: asyncio.Event) -> None:
        await admin.start()
        tasks = [asyncio.create_task(self._keep(member)) for member in self._members]
        try:
            await self._wait_ready(stop)
            tasks.append(asyncio.create_task(self._collect_for_ever()))
            print_ready(self._config, self._config.listen, str(admin.bound))
            await stop.wait()
        finally:
            await self._end(tasks)
            await admin.stop()

    async def _keep(self, member: Member) -> None:
        order = Order(self._config, member.number, f"unix:{member.path}")
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

    async def _wait_ready(self, stop: asyncio.Event) -> None:
        # Other processes: there is no event to await.
        while not stop.is_set() and not await self._all_listen():
            for member in self._members:
                if member.deaths:
                    raise SidecarError(f"worker {member.number} could not start; its message is above")
            await asyncio.sleep(0.05)

    async def _all_listen(self) -> bool:
        states = [orjson.loads(answer.content) for _, answer in await self._ask_all("/state")]
        return len(states) == len(self._members) and all(state["listening"] for state in states)

    async def _end(self, tasks: list[asyncio.Task[None]]) -> None:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.gather(*(member.end(self._config.grace_s + END_S) for member in self._members))

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
            "gate": next(gate for gate in ("closed", "cooling", "open") if gate in gates),
            "gated": all(state["gated"] for state in states),
            "in_flight": sum(state["in_flight"] for state in states),
            "cooldown_ms": max(state["cooldown_ms"] for state in states),
            "memory": merge_memory([state["memory"] for state in states]),
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
