"""Owns the four-arm scenario: the same arrivals for online alone, shared without a gate, shared with Valve.

Both engines live throughout. The offline engine is always a tenant under `valve run`; without a gate the
client reaches the online engine directly, so that nothing closes the gate. The arms alternate in rounds, each
round on the next piece of the trace, so that a drift of the machine meets all of them.
"""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import orjson

from valve_loadgen import budget_report, harvest, machine, requests_csv, stats, validity
from valve_loadgen.arrivals import Load, Planned
from valve_loadgen.baselines import availability, choose, prepared
from valve_loadgen.client import Client
from valve_loadgen.colocate_page import html
from valve_loadgen.errors import BenchError
from valve_loadgen.lab import opened_lab
from valve_loadgen.ledger import ledger, open_fraction
from valve_loadgen.openloop import replay
from valve_loadgen.results import (
    BIN_NS,
    BUDGET,
    NO_GATE,
    OFFLINE_ALONE,
    ONLINE_ALONE,
    VALVE,
    Results,
    Window,
    tpot_ms,
)
from valve_loadgen.screen import Screen
from valve_loadgen.self_check import SelfCheckPlan, self_check
from valve_loadgen.stage import Stage
from valve_loadgen.timeline import timelines

LEAD_NS = 50_000_000
WARM_UPS = 3
CHECK = SelfCheckPlan(rate=50.0, seconds=2.0)
STATEMENT = (
    "alone: the online engine reached directly, the offline engine resident but idle. "
    "No gate: both engines at once, each in its own session; on a CPU, nice 19 within one session "
    "protects the online engine as well as a gate does, on a GPU there is no equivalent."
)


@dataclass(frozen=True)
class Scenario:
    """How long and on what load."""

    rounds: int = 5
    window_s: float = 9.0
    offline_window_s: float = 4.0
    load: Load = field(default_factory=Load)
    cooldown_ms: float | None = None
    """None: the sidecar's own rule."""
    kinds: tuple[str, str] = ("llamacpp", "llamacpp")
    """The online and the offline engine."""
    baselines: tuple[str, ...] = ()
    budget: float | None = None
    """Also the budget policy, its TPOT SLO this many times what online alone takes."""

    @property
    def serve_options(self) -> tuple[str, ...]:
        return () if self.cooldown_ms is None else ("--cooldown-ms", f"{self.cooldown_ms:g}")

    @classmethod
    def of_minutes(
        cls,
        minutes: float,
        load: Load,
        cooldown_ms: float | None,
        window_s: float,
        kinds: tuple[str, str] = ("llamacpp", "llamacpp"),
        baselines: tuple[str, ...] = (),
        budget: float | None = None,
    ) -> "Scenario":
        """As many rounds as fit: three windows, one per other arm, a shorter one and about 5 s between."""
        offline_s, more = window_s / 2, len(baselines) + (budget is not None)
        rounds = max(1, round(minutes * 60 / ((3 + more) * window_s + offline_s + 5.0)))
        return cls(rounds, window_s, offline_s, load, cooldown_ms, kinds, baselines, budget)

    @property
    def cooldown_told(self) -> str:
        if self.cooldown_ms is None:
            return "cool-down by the sidecar's own rule"
        return f"cool-down fixed at {self.cooldown_ms:g} ms"

    def plan(self, index: int) -> list[Planned]:
        return self.load.round(index, self.window_s)


class Colocation:
    """One run: the stage, and what has been measured on it."""

    def __init__(self, scenario: Scenario, stage: Stage, screen: Screen, check: dict[str, Any]) -> None:
        self.scenario, self.stage, self.screen, self.check = scenario, stage, screen, check
        self.results = Results()

    async def warm_up(self) -> None:
        self.screen.stage("warming up")
        await self.stage.warm_up(self.scenario.load.round(0, 60.0)[:WARM_UPS])
        if self.scenario.budget is not None:
            await self._state_slo(self.scenario.budget)

    async def _state_slo(self, times: float) -> None:
        """`times` the TPOT of online alone, on a piece of the trace that no round plays."""
        self.screen.stage("measuring online alone, for the budget's SLO")
        number = self.scenario.rounds
        window = await self._online_window(
            ONLINE_ALONE, number, self.scenario.plan(number), self.stage.direct
        )
        tpots = [value for value in map(tpot_ms, window.exchanges) if value is not None]
        if not tpots:
            raise BenchError("no request to measure TPOT with: use a longer --window-s, or --keep more")
        self.stage = await self.stage.with_budget(round(times * stats.percentile(tpots, 0.5), 1))
        await self.stage.settle()

    async def run_round(self, index: int) -> None:
        """The four arms and the baselines', beginning with another one each round."""
        plan = self.scenario.plan(index)
        arms: dict[str, Callable[[], Awaitable[Window]]] = {
            ONLINE_ALONE: lambda: self._online_window(ONLINE_ALONE, index, plan, self.stage.direct),
            OFFLINE_ALONE: lambda: self._offline_window(index),
            NO_GATE: lambda: self._shared(NO_GATE, index, plan, self.stage.direct),
            VALVE: lambda: self._shared(VALVE, index, plan, self.stage.gated),
        }
        if budgeted := self.stage.budgeted:
            arms[BUDGET] = lambda: self._shared(BUDGET, index, plan, budgeted.client)
        for rival in self.stage.rivals:
            arms[rival.arm] = partial(self._shared, rival.arm, index, plan, self.stage.direct)
        order = list(arms)
        turn = index % len(order)
        for arm in order[turn:] + order[:turn]:
            self.screen.stage(
                f"round {index + 1} of {self.scenario.rounds}: {arm}, {len(plan)} online requests"
            )
            await self.stage.settle()
            self.results.windows.append(await arms[arm]())
            self.screen.advance()
        await self._collect()

    async def _online_window(self, arm: str, index: int, plan: list[Planned], client: Client) -> Window:
        start_ns = time.monotonic_ns() + LEAD_NS
        prefix = f"{arm}-{time.monotonic_ns():x}-"
        exchanges = await replay(client, plan, start_ns, prefix)
        scheduled_end_ns = start_ns + round(self.scenario.window_s * 1e9)
        await asyncio.sleep(max(0.0, (scheduled_end_ns - time.monotonic_ns()) / 1e9))
        end_ns = max([scheduled_end_ns, *(exchange.done_ns for exchange in exchanges)])
        return Window(arm, index, start_ns, end_ns, exchanges)

    async def _shared(self, arm: str, index: int, plan: list[Planned], client: Client) -> Window:
        driver = self.stage.driver_of(arm)
        await driver.start()
        try:
            window = await self._online_window(arm, index, plan, client)
        finally:
            await driver.stop()
        window.offline_tokens = driver.log.between(window.start_ns, window.end_ns)
        window.offline_bins = driver.log.binned(window.start_ns, window.end_ns, BIN_NS)
        return window

    async def _offline_window(self, index: int) -> Window:
        await self.stage.driver.start()
        start_ns = time.monotonic_ns()
        await asyncio.sleep(self.scenario.offline_window_s)
        end_ns = time.monotonic_ns()
        await self.stage.driver.stop()
        return Window(
            OFFLINE_ALONE, index, start_ns, end_ns, [], self.stage.driver.log.between(start_ns, end_ns)
        )

    async def _collect(self) -> None:
        await self.stage.lab.wait_for("after a round", "gate", "open")
        await asyncio.sleep(0.1)  # the sidecar polls the tenants' acknowledgements
        self.results.events += await self.stage.lab.new_events()
        if self.stage.budgeted:
            self.results.budget_events += await self.stage.budgeted.admin.new_events()
        drivers = (self.stage.driver, *(rival.driver for rival in self.stage.rivals))
        self.results.offline_errors = [error for driver in drivers for error in driver.errors]
        self.results.lapses = sum(holder["lapses"] for holder in (await self.stage.lab.state())["holders"])

    def report(self, complete: bool) -> dict[str, Any]:
        """report.json as of now."""
        figures = self.results.report()
        rounds = len({window.round for window in self.results.windows})
        tokens = {plan.name: plan.output_tokens for i in range(rounds) for plan in self.scenario.plan(i)}
        wrong = validity.reasons(self.results, figures, tokens, self.stage.lab.placement.shared)
        wrong += [f"self-check: {reason}" for reason in self._check_reasons(figures["arms"][ONLINE_ALONE])]
        if not complete:
            wrong.append(f"interrupted after {rounds} of {self.scenario.rounds} rounds")
        return {**figures, "valid": not wrong, "reasons": wrong, **self._circumstances(rounds)}

    def _budget(self) -> dict[str, Any] | None:
        budgeted = self.stage.budgeted
        return budget_report.report(self.results, budgeted.slo_tpot_ms) if budgeted else None

    def _check_reasons(self, alone: dict[str, Any]) -> list[str]:
        sizes = ((alone[figure] or {}).get("p50") for figure in ("ttft_ms", "tpot_ms"))
        return list(validity.check_reasons(self.check, *sizes))

    def _circumstances(self, rounds: int) -> dict[str, Any]:
        return {
            "rounds": rounds,
            "window_s": self.scenario.window_s,
            "load": str(self.scenario.load),
            "engines": self.scenario.kinds,
            "cooldown_ms": self.scenario.cooldown_ms,
            "seed": self.scenario.load.seed,
            "statement": STATEMENT,
            "placement": str(self.stage.lab.placement),
            "machine": machine.describe(),
            "commands": self.stage.lab.commands,
            "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "offline_completions": self.stage.driver.completions,
            "baselines_available": availability(),
            "self_check": self.check,
            "harvest": harvest.report(self.results),
            "budget": self._budget(),
            "timelines": timelines(self.results),
            "gate_open_fraction": open_fraction(self.results),
            "requests": ledger(self.results, [self.scenario.plan(i) for i in range(rounds)]),
        }


async def colocate(scenario: Scenario, out: Path, screen: Screen) -> dict[str, Any]:
    """Runs `scenario`, writes its files to `out` after every round, returns the report. Raises BenchError."""
    screen.stage("self-check against the exact mock")
    check = await self_check(CHECK)
    with prepared(choose(scenario.baselines)) as rivals, opened_lab(out / "logs") as lab:
        screen.note(f"{scenario.load}\n{lab.placement}; {scenario.cooldown_told}")
        screen.stage("starting both engines and the sidecar")
        building = Stage.build(lab, scenario.serve_options, scenario.kinds, rivals)
        with contextlib.closing(await building) as stage:
            return await _run(Colocation(scenario, stage, screen, check), out)


async def _run(run: Colocation, out: Path) -> dict[str, Any]:
    await run.warm_up()
    report: dict[str, Any] = {}
    for index in range(run.scenario.rounds):
        await run.run_round(index)
        report = run.report(complete=index + 1 == run.scenario.rounds)
        write(report, out)
        requests_csv.write(out / "requests.csv", run.results.exchanges)
    return report


def write(report: dict[str, Any], out: Path) -> None:
    """OUT/report.json and OUT/report.html, each whole or not at all."""
    for file, content in (
        ("report.json", orjson.dumps(report, option=orjson.OPT_INDENT_2)),
        ("report.html", html(report).encode()),
    ):
        draft = out / f"{file}.part"
        draft.write_bytes(content)
        draft.replace(out / file)
