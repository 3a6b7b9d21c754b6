"""Owns `valve bench run`: one open-loop run against any OpenAI-compatible URL, and its files."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import orjson

from valve_loadgen import load_report, machine, requests_csv
from valve_loadgen.arrivals import Planned
from valve_loadgen.client import Client
from valve_loadgen.exchange import Exchange
from valve_loadgen.load_page import html
from valve_loadgen.load_report import Measured
from valve_loadgen.screen import Screen
from valve_loadgen.self_check import SelfCheckPlan, self_check
from valve_loadgen.slo import Slo
from valve_loadgen.target import Target
from valve_loadgen.tokenizing import calibrate, fit
from valve_loadgen.workers import Sending, named, send
from valve_loadgen.workload import Workload

CHECK_S, CHECK_RATE_MIN, CHECK_RATE_MAX = 2.0, 50.0, 2000.0


@dataclass(frozen=True)
class LoadRun:
    """What to send where; requests of the first `warmup_s` and the last `tail_s` are not counted."""

    target: Target
    workload: Workload = field(default_factory=Workload)
    model: str | None = None
    chat: bool = True
    headers: tuple[tuple[str, str], ...] = ()
    processes: int = 1
    warmup_s: float = 0.0
    tail_s: float = 0.0
    slo: Slo | None = None
    storms_s: tuple[float, ...] = ()
    check: bool = True
    """Run the self-check first."""


async def load_run(run: LoadRun, out: Path, screen: Screen) -> dict[str, Any]:
    """Checks, calibrates, sends, writes report.json and requests.csv into `out`. Raises BenchError."""
    checked = await _check(run, screen) if run.check else None
    sending, plan, told = await _prepare(run, screen)
    async with _ticking(screen, run.workload.duration_s):
        sent = await send(plan, sending, run.processes)
    begin_ns = sent.start_ns + round(run.warmup_s * 1e9)
    end_ns = sent.start_ns + round((run.workload.duration_s - run.tail_s) * 1e9)
    figures = load_report.report(Measured(sent.exchanges, begin_ns, end_ns), run.slo, checked)
    report = {**figures, **told, **_circumstances(run), "realtime": sent.ahead}
    write(report, sent.exchanges, out)
    return report


async def _check(run: LoadRun, screen: Screen) -> dict[str, Any]:
    """At the rate of the run's fullest second, within what a short check can say something about."""
    screen.stage("self-check against the exact mock")
    rate = min(max(run.workload.peak_rate(), CHECK_RATE_MIN), CHECK_RATE_MAX)
    return {**await self_check(SelfCheckPlan(rate, CHECK_S, run.processes)), "rate": rate}


async def _prepare(run: LoadRun, screen: Screen) -> tuple[Sending, list[Planned], dict[str, Any]]:
    """How to send, what, and what the report says of both."""
    screen.stage(f"asking {run.target} how it counts tokens")
    client = Client(run.target, dict(run.headers))
    try:
        ask = await fit(client, run.model, run.chat)
        vocabulary = await calibrate(client, ask)
    finally:
        client.close()
    told = {"model": ask.model, "fixed_length": ask.fixed_length, "prompts_by": vocabulary.source}
    storms_ns = tuple(round(at_s * 1e9) for at_s in run.storms_s)
    sending = Sending(run.target, ask, run.headers, storms_ns=storms_ns)
    return named(sending), run.workload.plan(vocabulary), told


@contextlib.asynccontextmanager
async def _ticking(screen: Screen, duration_s: float) -> AsyncIterator[None]:
    """Shows the time while a run goes on."""

    async def tick() -> None:
        for second in count():
            over = second >= duration_s
            told = "waiting for the last answers" if over else f"{second} of {duration_s:g} s sent"
            screen.stage(told, quietly=second % 10 > 0)
            await asyncio.sleep(1.0)
            screen.advance()

    ticking = asyncio.create_task(tick())
    try:
        yield
    finally:
        ticking.cancel()


def _circumstances(run: LoadRun) -> dict[str, Any]:
    return {
        "target": str(run.target),
        "endpoint": "chat" if run.chat else "completions",
        "load": str(run.workload),
        "seed": run.workload.seed,
        "window": {
            "warmup_s": run.warmup_s,
            "tail_s": run.tail_s,
            "counted_s": run.workload.duration_s - run.warmup_s - run.tail_s,
        },
        "processes": run.processes,
        "machine": machine.describe(),
        "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def write(report: dict[str, Any], exchanges: Sequence[Exchange], out: Path) -> None:
    """OUT/report.json, OUT/report.html and OUT/requests.csv."""
    out.mkdir(parents=True, exist_ok=True)
    (out / "report.json").write_bytes(orjson.dumps(report, option=orjson.OPT_INDENT_2))
    (out / "report.html").write_text(html(report, exchanges), "utf-8")
    requests_csv.write(out / "requests.csv", exchanges)
