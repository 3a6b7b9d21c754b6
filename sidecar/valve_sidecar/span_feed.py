"""Feeds the exporter's process (span_export.py) from the event log: nothing of it waits for a collector.

The event loop formats small slices and writes them to a pipe. A collector that is slow or away fills the
pipe, reading stops, and the log, which is a ring, drops and counts what it cannot keep.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any

import orjson

from .address import Address
from .config import ServeConfig
from .sources import Sources
from .version import installed_version

log = logging.getLogger(__name__)

READ_S = 1.0  # how often the log is read: each look has its price, and a span can wait
SLICE = 32  # events formatted at a time, so that no request waits for more than a fraction of a millisecond
BATCH = 512  # events to one export, at most
NICE = 10  # of the exporter: spans can wait, its start too; requests cannot
START_AGAIN_S = 5.0
FLUSH_S = 5.0  # at the end: for what is left in the log, and again for the exporter to end

ReadEvents = Callable[[int, int], Awaitable[dict[str, Any]]]


@dataclass(frozen=True, slots=True)
class ExportOrder:
    """What the exporter is told. Compression, headers, certificates: OTEL_EXPORTER_OTLP_* variables."""

    endpoint: str  # the collector's base URL
    version: str
    server_address: str  # the engine's
    server_port: int

    def encode(self) -> str:
        return orjson.dumps(self).decode()

    @classmethod
    def decode(cls, text: str) -> ExportOrder:
        return cls(**orjson.loads(text))


@asynccontextmanager
async def exporting(config: ServeConfig, sources: Sources) -> AsyncIterator[Sources]:
    """Exports the spans of what `sources` tells for as long as it is open, if the configuration says so."""
    if not config.otlp_endpoint:
        yield sources
        return
    engine = Address.parse(config.upstream)
    order = ExportOrder(config.otlp_endpoint, installed_version(), engine.path or engine.host, engine.port)
    feed = SpanFeed(order, sources.events)
    feed.start()
    try:
        yield replace(sources, traces=lambda: dict(feed.counts))
    finally:
        await feed.stop()


class SpanFeed:
    """`start`, then `stop` once nothing more happens. `counts`: exported, and dropped by reason."""

    def __init__(self, order: ExportOrder, read_events: ReadEvents) -> None:
        self._order, self._read_events = order, read_events
        self._next = 0
        self._process: Process | None = None
        self._answers: asyncio.Task[None] | None = None
        self._task: asyncio.Task[None] | None = None
        self._ending = asyncio.Event()
        self._unanswered = 0  # records that the exporter has not accounted for
        self.counts: Counter[str] = Counter()

    def start(self) -> None:
        self._task = asyncio.create_task(self._keep_feeding(), name="valve-spans")

    async def stop(self) -> None:
        """Exports what is left, within bounds."""
        if self._task is None:
            return
        self._ending.set()
        try:
            await asyncio.wait_for(self._task, FLUSH_S)
        except TimeoutError:
            log.warning("the collector at %s did not take the last spans", self._order.endpoint)
        await self._end_exporter()

    async def _keep_feeding(self) -> None:
        while True:
            try:
                await self._feed(await self._start_exporter())
                return
            except OSError as error:
                log.warning("no span exporter (%s); starting it again in %g s", error, START_AGAIN_S)
            await self._end_exporter()
            if self._ending.is_set():
                return
            with suppress(TimeoutError):
                await asyncio.wait_for(self._ending.wait(), START_AGAIN_S)

    async def _start_exporter(self) -> Process:
        """Raises OSError."""
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "valve_sidecar.span_export", self._order.encode(), stdin=PIPE, stdout=PIPE
        )
        with suppress(OSError):  # it has ended already
            os.setpriority(os.PRIO_PROCESS, process.pid, max(NICE, os.nice(0)))
        self._process, self._answers = process, asyncio.create_task(self._read_answers(process))
        return process

    async def _feed(self, process: Process) -> None:
        """Until `stop`, and then until the log is empty. Raises ConnectionError if the exporter is gone."""
        while True:
            last = self._ending.is_set()
            while await self._send_batch(process) == BATCH:
                pass
            if last:
                return
            with suppress(TimeoutError):
                await asyncio.wait_for(self._ending.wait(), READ_S)

    async def _send_batch(self, process: Process) -> int:
        """Returns how many records it had."""
        sent = 0
        while sent < BATCH:
            told = await self._read_events(self._next, SLICE)
            self._next = told["next"]
            self.counts["queue_full"] += told["dropped"]
            self._unanswered += len(told["events"])
            if told["events"]:
                await write(process, orjson.dumps(told["events"]) + b"\n")
            sent += len(told["events"])
            if len(told["events"]) < SLICE:
                break
            await asyncio.sleep(0)  # between slices requests come first
        if sent:
            await write(process, b"\n")
        return sent

    async def _read_answers(self, process: Process) -> None:
        assert process.stdout is not None
        async for line in process.stdout:
            told = Counter(orjson.loads(line))
            self._unanswered -= told.pop("records", 0)
            self.counts += told

    async def _end_exporter(self) -> None:
        """It ends with its input, once it has exported what it has."""
        process, answers = self._process, self._answers
        if process is None or answers is None:
            return
        assert process.stdin is not None
        process.stdin.close()
        try:
            await asyncio.wait_for(process.wait(), FLUSH_S)
        except TimeoutError:
            process.kill()
            await process.wait()
        await answers
        self.counts["exporter_gone"] += self._unanswered
        self._process, self._answers, self._unanswered = None, None, 0


async def write(process: Process, data: bytes) -> None:
    """Waits while the pipe is full. Raises ConnectionError if nobody reads it any more."""
    assert process.stdin is not None
    if process.returncode is not None or process.stdin.is_closing():
        raise ConnectionResetError("the exporter has ended")  # uvloop's own word for it is RuntimeError
    process.stdin.write(data)
    await process.stdin.drain()
