"""Owns the scenario of spreading: the same arrivals, round robin and pack first, and what offline work gets.

The arms alternate in rounds, each round on the next piece of the trace; what the planner says of the same
requests stands beside what is measured.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from valve_loadgen import machine, stats
from valve_loadgen.arrivals import Load, Planned
from valve_loadgen.client import Client
from valve_loadgen.errors import BenchError
from valve_loadgen.exchange import Exchange
from valve_loadgen.lab import Lab, opened_lab
from valve_loadgen.openloop import replay
from valve_loadgen.plan.engine import Engine
from valve_loadgen.replicas import (
    LLAMACPP,
    PACK_FIRST,
    ROUND_ROBIN,
    TIMED,
    Replica,
    Sizes,
    balancer,
    check_tenants,
    fleet,
    settled,
)
from valve_loadgen.screen import Screen
from valve_loadgen.spread_plan import figures_of, predict
from valve_loadgen.traces import Lengths

ARMS = (ROUND_ROBIN, PACK_FIRST)
ALONE = "offline_alone"
COUNTED = ("harvested_s", "gate_closes")
LEAD_NS = 50_000_000
SMALL = Lengths(128, 4, 8, 10, 6, 24)
PRESETS = {
    TIMED: (Load(keep=1.0, lengths=Lengths()), 16),
    LLAMACPP: (Load(keep=0.4, lengths=SMALL), 8),
}
"""Load and slots by online engine: as much as lets a round robin drain seldom, and a replica still answer."""


@dataclass(frozen=True)
class SpreadPlan:
    """`load` and slots follow the engine: PRESETS."""

    engine: str = TIMED
    replicas: int = 4
    rounds: int = 3
    window_s: float = 20.0
    cooldown_ms: float = 50.0

    @property
    def load(self) -> Load:
        return PRESETS[self.engine][0]

    def planned(self, number: int) -> list[Planned]:
        """The requests of a round. Raises BenchError when there are none."""
        found = self.load.round(number, self.window_s)
        if not found:
            raise BenchError(f"no request in round {number + 1}: make windows longer")
        return found

    @property
    def sizes(self) -> Sizes:
        return Sizes(self.replicas, PRESETS[self.engine][1], self.engine, self.cooldown_ms)


@dataclass
class Window:
    """One arm's turn: offline tokens and seconds that a tenant ran, summed over replicas; online requests."""

    arm: str
    wall_s: float
    tokens: int
    ran_s: float
    closes: float
    exchanges: list[Exchange]


@dataclass
class Spread:
    """What has been measured; `figures` describes the online engine."""

    plan: SpreadPlan
    figures: Engine
    windows: list[Window] = field(default_factory=list)

    def of(self, arm: str) -> list[Window]:
        return [window for window in self.windows if window.arm == arm]

    def report(self) -> dict[str, Any]:
        """report.json's keys that follow from the measurements."""
        requests = [self.plan.planned(number) for number in range(self.plan.rounds)]
        return {
            "arms": {
                arm: {
                    "measured": self._measured(arm),
                    "predicted": predict(arm, requests, self.figures, self.plan),
                }
                for arm in ARMS
            },
            "offline_alone_tokens_per_s": self._tokens_per_s(ALONE),
            "engine_figures": str(self.figures),
            "valid": not self._reasons(),
            "reasons": self._reasons(),
        }

    def _tokens_per_s(self, arm: str) -> float:
        return sum(each.tokens for each in self.of(arm)) / sum(each.wall_s for each in self.of(arm))

    def _measured(self, arm: str) -> dict[str, Any]:
        windows = self.of(arm)
        exchanges = [each for window in windows for each in window.exchanges]
        replica_s = sum(window.wall_s for window in windows) * self.plan.replicas
        return {
            "harvest_fraction": self._tokens_per_s(arm) / self._tokens_per_s(ALONE),
            "gate_open_fraction": sum(window.ran_s for window in windows) / replica_s,
            "preemptions_per_request": sum(window.closes for window in windows) / len(exchanges),
            "requests": len(exchanges),
            "ttft_ms": stats.summary([each.ttft_ms for each in exchanges if each.ttft_ms is not None]),
            "tpot_ms": stats.summary([each.tpot_ms for each in exchanges if each.tpot_ms is not None]),
            "gate_open_by_round": [each.ran_s / each.wall_s / self.plan.replicas for each in windows],
        }

    def _reasons(self) -> list[str]:
        failed = [each for window in self.windows for each in window.exchanges if not each.ok]
        if failed:
            return [f"{len(failed)} online requests failed: {failed[0].error or failed[0].status}"]
        return []


class SpreadRun:
    """The fleet with both balancers before it."""

    def __init__(self, plan: SpreadPlan, replicas: Sequence[Replica], clients: dict[str, Client]) -> None:
        self._plan, self._replicas, self._clients = plan, replicas, clients

    async def window(self, arm: str, planned: Sequence[Planned]) -> Window:
        """The arrivals of one round through the balancer of `arm`; ALONE: none. Raises BenchError."""
        async with self._offline():
            before, begin_ns = await self._counters(), time.monotonic_ns()
            prefix, client = f"{arm}-{begin_ns:x}-", self._clients.get(arm)
            sending = replay(client, planned, begin_ns + LEAD_NS, prefix) if client else asyncio.sleep(0, [])
            sent = asyncio.create_task(sending)
            await asyncio.sleep(self._plan.window_s)
            after, end_ns = await self._counters(), time.monotonic_ns()
            exchanges = await sent
        tokens = sum(each.driver.log.between(begin_ns, end_ns) for each in self._replicas)
        ran_s, closes = (after[key] - before[key] for key in COUNTED)
        return Window(arm, (end_ns - begin_ns) / 1e9, tokens, ran_s, closes, exchanges)

    @contextlib.asynccontextmanager
    async def _offline(self) -> AsyncIterator[None]:
        await settled(self._replicas)
        await asyncio.gather(*(each.driver.start() for each in self._replicas))
        try:
            yield
        finally:
            await asyncio.gather(*(each.driver.stop() for each in self._replicas))

    async def _counters(self) -> dict[str, float]:
        told = await asyncio.gather(*(each.counters() for each in self._replicas))
        check_tenants(told)
        return {key: sum(each[key] for each in told) for key in COUNTED}


async def spread(plan: SpreadPlan, out: Path, screen: Screen) -> dict[str, Any]:
    """Runs `plan`, writes report.json and logs to `out`, returns the report. Raises BenchError."""
    screen.note(f"{plan.load}; {plan.replicas} replicas, online engine {plan.engine}")
    with opened_lab(out / "logs") as lab:
        screen.stage(f"starting {plan.replicas} replicas")
        async with fleet(lab, plan.sizes) as replicas:
            result = await _play(plan, lab, replicas, screen)
        report = {**result.report(), **_circumstances(plan, lab)}
    (out / "report.json").write_bytes(orjson.dumps(report, option=orjson.OPT_INDENT_2))
    return report


async def _play(plan: SpreadPlan, lab: Lab, replicas: Sequence[Replica], screen: Screen) -> Spread:
    targets = {arm: await balancer(lab, arm, replicas, plan.sizes.slots) for arm in ARMS}
    with contextlib.ExitStack() as stack:
        clients = {
            arm: stack.enter_context(contextlib.closing(Client(each))) for arm, each in targets.items()
        }
        screen.stage("measuring the online engine")
        result = Spread(plan, await figures_of(plan.engine, replicas[0].gated, plan.sizes.slots))
        run = SpreadRun(plan, replicas, clients)
        for number in range(plan.rounds):
            planned = plan.planned(number)
            for arm in _order(number):
                screen.stage(f"round {number + 1} of {plan.rounds}: {arm}, {len(planned)} online requests")
                result.windows.append(await run.window(arm, planned))
                screen.advance()
    return result


def _order(number: int) -> list[str]:
    """Another arm begins each round."""
    arms = [ALONE, *ARMS]
    turn = number % len(arms)
    return arms[turn:] + arms[:turn]


def _circumstances(plan: SpreadPlan, lab: Lab) -> dict[str, Any]:
    return {
        "engine": plan.engine,
        "replicas": plan.replicas,
        "rounds": plan.rounds,
        "window_s": plan.window_s,
        "cooldown_ms": plan.cooldown_ms,
        "pack_limit": plan.sizes.slots,
        "load": str(plan.load),
        "placement": f"{lab.placement}; each replica has 1/{plan.replicas} of the engines' core",
        "machine": machine.describe(),
        "commands": lab.commands,
        "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }
