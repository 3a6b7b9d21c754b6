"""Owns `valve bench proxy`: what the sidecar adds to a request that is not streamed, at a fixed rate."""

import asyncio
import contextlib
import time
from dataclasses import dataclass
from typing import Any

from valve_loadgen import machine, stats
from valve_loadgen.alarm import Alarm
from valve_loadgen.arrivals import jittered
from valve_loadgen.client import Client
from valve_loadgen.errors import BenchError
from valve_loadgen.exchange import Exchange
from valve_loadgen.lab import Lab, opened_lab
from valve_loadgen.screen import Screen

GOAL_MS = 1.0
PATH = "/v1/completions"
BODY = {"model": "default", "prompt": "constant", "max_tokens": 1, "stream": False}
Block = tuple[list[float], list[float]]


@dataclass(frozen=True)
class ProxyPlan:
    """`blocks` pairs of a direct and a proxied block of `block_s` seconds each."""

    rps: float = 50.0
    blocks: int = 12
    block_s: float = 2.0


async def measure_proxy(plan: ProxyPlan, lab: Lab, screen: Screen) -> dict[str, Any]:
    """Runs the blocks and returns the report."""
    backend = await lab.start_backend("backend", lab.placement.engines)
    proxy = await lab.start_sidecar(backend, "--engine", "openai", "--device", "cpu")
    direct, proxied = Client(backend), Client(proxy)
    try:
        for client in (direct, proxied):
            await _block(client, plan, seed=0)  # warm-up, not counted
        blocks = []
        for index in range(plan.blocks):
            screen.stage(f"block {index + 1} of {plan.blocks}")
            blocks.append(await _pair(direct, proxied, plan, index))
            screen.advance()
    finally:
        direct.close()
        proxied.close()
    return report(plan, blocks)


async def _pair(direct: Client, proxied: Client, plan: ProxyPlan, index: int) -> Block:
    """The same schedule for both; which goes first alternates."""
    if index % 2:
        treated = await _block(proxied, plan, seed=index + 1)
        return await _block(direct, plan, seed=index + 1), treated
    control = await _block(direct, plan, seed=index + 1)
    return control, await _block(proxied, plan, seed=index + 1)


async def _block(client: Client, plan: ProxyPlan, seed: int) -> list[float]:
    """Latencies in ms, from the send to the response's last byte. Raises BenchError for a failed request."""
    start_ns = time.monotonic_ns() + 20_000_000
    times = jittered(round(plan.rps * plan.block_s), round(1e9 / plan.rps), seed)
    exchanges = [Exchange(f"proxy-{start_ns:x}-{i}", str(i), start_ns + at) for i, at in enumerate(times)]
    with contextlib.closing(Alarm()) as alarm:
        tasks = []
        for exchange in exchanges:
            await alarm.until(exchange.sched_ns)
            tasks.append(asyncio.create_task(client.post(exchange, PATH, BODY)))
        await asyncio.gather(*tasks)
    for exchange in exchanges:
        if not exchange.ok:
            raise BenchError(f"a request to {client.target} failed: {exchange.error or exchange.status}")
    return [(exchange.done_ns - exchange.send_ns) / 1e6 for exchange in exchanges]


def report(plan: ProxyPlan, blocks: list[Block]) -> dict[str, Any]:
    """{"direct_ms", "proxied_ms", "added_ms": {"p50", "p50_ci95", "p99", "p99_ci95"}, "verdict", ...}"""
    p50 = stats.difference_of_quantiles(blocks, 0.5)
    p99 = stats.difference_of_quantiles(blocks, 0.99)
    direct = [value for block in blocks for value in block[0]]
    proxied = [value for block in blocks for value in block[1]]
    enough = len(direct) >= stats.P99_SAMPLES
    return {
        "rps": plan.rps,
        "direct_ms": stats.summary(direct),
        "proxied_ms": stats.summary(proxied),
        "added_ms": {
            "p50": p50.value,
            "p50_ci95": p50.ci95,
            "p99": p99.value if enough else None,
            "p99_ci95": p99.ci95 if enough else None,
        },
        "goal_ms": GOAL_MS,
        "verdict": p50.below(GOAL_MS),
        "machine": machine.describe(),
    }


async def proxy(plan: ProxyPlan, screen: Screen) -> dict[str, Any]:
    """Sets everything up, measures, cleans up. Raises BenchError."""
    with opened_lab() as lab:
        result = await measure_proxy(plan, lab, screen)
        return {**result, "placement": str(lab.placement), "commands": lab.commands}


def render(result: dict[str, Any]) -> str:
    added, direct, proxied = result["added_ms"], result["direct_ms"], result["proxied_ms"]
    interval = added["p50_ci95"] or ["-", "-"]
    p99 = "p99 needs more samples" if added["p99"] is None else f"added p99 {added['p99']:.3f} ms"
    return (
        f"direct p50 {direct['p50']:.3f} ms, through valve serve p50 {proxied['p50']:.3f} ms "
        f"({direct['n']} requests each, {result['rps']:g} per second)\n"
        f"added p50 {added['p50']:.3f} ms [{interval[0]:.3f}, {interval[1]:.3f}], {p99}; "
        f"goal < {result['goal_ms']} ms: {result['verdict']}"
    )
