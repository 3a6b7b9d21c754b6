"""Owns `valve bench proxy`: the sidecar against other proxies on one core each, before the same backend."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from statistics import median
from typing import Any

import orjson

from valve_loadgen import cancel, machine, peers
from valve_loadgen.client import Client
from valve_loadgen.cpus import available, kept_on, place
from valve_loadgen.errors import BenchError
from valve_loadgen.http_tools import Tools, program
from valve_loadgen.lab import free_port
from valve_loadgen.layout import Layout, lay_out
from valve_loadgen.peers import Peer
from valve_loadgen.processes import Processes, ready
from valve_loadgen.screen import Screen
from valve_loadgen.stats import percentile
from valve_loadgen.target import Target

PATH = "/v1/completions"
BODY = {"model": "default", "prompt": "constant", "max_tokens": 1, "stream": False}
GAP_US = 5_000  # between the chunks of a stream
STREAMS = 128
GATE_RPS = 14.0  # slower than the cool-down: every arrival closes the gate
PROMPT_BYTES = 1_000_000
ADMIN_PERIOD_S = 0.1
CANCELS = 30  # of each case
Figures = dict[str, float]


@dataclass(frozen=True)
class ProxyPlan:
    """`rounds` of every measurement on every peer; durations in seconds; `layout`: one of LAYOUTS."""

    rounds: int
    rps: float
    saturate_s: float
    latency_s: float
    peers: tuple[str, ...]
    layout: str = "own"


@dataclass(frozen=True)
class Bench:
    plan: ProxyPlan
    tools: Tools
    layout: Layout
    screen: Screen

    async def measure(self, peer: Peer, number: int) -> Figures:
        """Every figure of one peer in one round, raw: nothing is subtracted yet."""
        figures = await self._saturation(peer)
        figures |= quantiles("latency_us", await self._latencies(peer, number))
        figures |= await self._one_stream(peer)
        figures |= await self._many_streams(peer)
        figures |= await self._long_prompt(peer, number)
        if peer.admin is not None:
            figures |= await self._gate(peer, number)
            figures |= await self._beside_admin(peer, number)
        elif peer.name == "direct":
            figures |= quantiles("bare_epoll_us", await self._wakes(number))
        return figures

    async def _saturation(self, peer: Peer) -> Figures:
        before_ns = peer.cpu_ns()
        requests, seconds = await self.tools.saturate(peer.port, self.plan.saturate_s)
        cpu_us = (peer.cpu_ns() - before_ns) / 1e3
        return {"rps": requests / seconds, "cpu_us_per_request": cpu_us / requests}

    async def _latencies(self, peer: Peer, number: int) -> list[float]:
        samples = await self.tools.latency(peer.port, self.plan.rps, self.plan.latency_s, 64, number)
        return [took / 1e3 for _, took in samples]

    async def _one_stream(self, peer: Peer) -> Figures:
        return quantiles("ttft_1_us", (await self.tools.streams(peer.port, 1, 4, GAP_US, 60)).ttft_us)

    async def _many_streams(self, peer: Peer) -> Figures:
        before_ns = peer.cpu_ns()
        seen = await self.tools.streams(peer.port, STREAMS, 60, GAP_US, 4)
        cpu_us = (peer.cpu_ns() - before_ns) / 1e3
        return quantiles("ttft_128_us", seen.ttft_us) | {"cpu_us_per_chunk": cpu_us / seen.events}

    async def _long_prompt(self, peer: Peer, number: int) -> Figures:
        samples = await self.tools.latency(peer.port, 20, 1.0, PROMPT_BYTES, number)
        return {"prompt_us": median(took for _, took in samples) / 1e3}

    async def _gate(self, peer: Peer, number: int) -> Figures:
        """From the client's send to the gate signalled, for arrivals that close it."""
        client = admin_client(peer)
        try:
            since = (await read_events(client, 0))[1]
            samples = await self.tools.latency(peer.port, GATE_RPS, self.plan.latency_s, 64, number)
            sent_ns = {f"c-{index}": sent for index, (sent, _) in enumerate(samples)}
            events, _ = await read_events(client, since)
        finally:
            client.close()
        closing = [event for event in events if event["kind"] == "request" and event["closed_gate"]]
        return quantiles("gate_us", [(e["gate_ns"] - sent_ns[e["request_id"]]) / 1e3 for e in closing])

    async def _wakes(self, number: int) -> list[float]:
        """What of `_gate` is the machine's: no proxy could be told sooner."""
        return await self.tools.wakes(min(self.layout.proxies), GATE_RPS, self.plan.latency_s, number)

    async def _beside_admin(self, peer: Peer, number: int) -> Figures:
        """Latencies while the admin side formats a thousand events every 100 ms."""
        client = admin_client(peer)
        reading = asyncio.create_task(read_for_ever(client))
        try:
            return quantiles("beside_admin_us", await self._latencies(peer, number))
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
            client.close()


def admin_client(peer: Peer) -> Client:
    return Client(Target(path=str(peer.admin)))


async def read_events(client: Client, since: int) -> tuple[list[dict[str, Any]], int]:
    """The sidecar's events from number `since` on, and where to go on."""
    events: list[dict[str, Any]] = []
    while True:
        _, body = await client.get(f"/events?since={since}&limit=1000")
        page = orjson.loads(body)
        events += page["events"]
        since = page["next"]
        if not page["events"]:
            return events, since


async def read_for_ever(client: Client) -> None:
    while True:
        due_s = time.monotonic() + ADMIN_PERIOD_S
        await client.get("/events?since=0&limit=1000")
        await asyncio.sleep(max(0.0, due_s - time.monotonic()))


def quantiles(name: str, samples: list[float]) -> Figures:
    if not samples:
        raise BenchError(f"no samples of {name}")
    return {f"{name}_p50": percentile(samples, 0.5), f"{name}_p99": percentile(samples, 0.99)}


async def run_rounds(bench: Bench, running: list[Peer]) -> list[dict[str, Figures]]:
    """Rounds of {peer: figures}; each round begins with another peer."""
    rounds: list[dict[str, Figures]] = []
    for number in range(bench.plan.rounds):
        figures: dict[str, Figures] = {}
        for step in range(len(running)):
            peer = running[(number + step) % len(running)]
            bench.screen.stage(f"round {number + 1} of {bench.plan.rounds}: {peer.name}")
            figures[peer.name] = await bench.measure(peer, number)
            bench.screen.advance()
        rounds.append(figures)
    return rounds


def added(rounds: list[dict[str, Figures]], name: str, figure: str) -> float:
    """The median over rounds of what `name` adds to `direct`."""
    return median(figures[name][figure] - figures["direct"][figure] for figures in rounds)


def middle(rounds: list[dict[str, Figures]], name: str, figure: str) -> float:
    return median(figures[name][figure] for figures in rounds)


def report_peer(rounds: list[dict[str, Figures]], name: str) -> dict[str, Any]:
    """See `report`."""

    def both(figure: str, read: Callable[[list[dict[str, Figures]], str, str], float]) -> Figures:
        return {q: read(rounds, name, f"{figure}_{q}") for q in ("p50", "p99")}

    result: dict[str, Any] = {
        "rps": middle(rounds, name, "rps"),
        "cpu_us_per_request": middle(rounds, name, "cpu_us_per_request"),
        "added_us": both("latency_us", added),
        "stream": {
            "added_ttft_us": both("ttft_1_us", added),
            "added_ttft_128_us": both("ttft_128_us", added),
            "cpu_us_per_chunk": middle(rounds, name, "cpu_us_per_chunk"),
        },
        "prompt_1mb_over_direct": median(f[name]["prompt_us"] / f["direct"]["prompt_us"] for f in rounds),
    }
    if "gate_us_p50" in rounds[0][name]:
        result["send_to_gate_us"] = both("gate_us", middle)
        result["beside_admin_us"] = both("beside_admin_us", middle)
        result["bare_epoll_us"] = {q: middle(rounds, "direct", f"bare_epoll_us_{q}") for q in ("p50", "p99")}
    return result


def report(rounds: list[dict[str, Figures]]) -> dict[str, Any]:
    """{"peers": {name: {"rps", "cpu_us_per_request", "added_us": {"p50", "p99"}, "stream": {...}, ...}},
    "rounds", "machine", "samples"}; `direct` is the backend without a proxy.
    """
    names = [name for name in rounds[0] if name != "direct"]
    direct = {figure: middle(rounds, "direct", figure) for figure in rounds[0]["direct"]}
    return {
        "peers": {name: report_peer(rounds, name) for name in names},
        "direct": direct,
        "rounds": len(rounds),
        "machine": machine.describe(),
        "samples": rounds,
    }


async def start_backend(processes: Processes, cpus: frozenset[int]) -> Peer:
    """Raises BenchError."""
    port = free_port()
    child = processes.start("direct", [str(program("http_backend")), str(port)], cpus)
    await ready(child, lambda: peers.answers(port))
    return Peer("direct", port, child)


async def measure_cancels(plan: ProxyPlan, processes: Processes, cpus: frozenset[int]) -> dict[str, Any]:
    """{peer: {case: us or None}}, each peer before an engine of this process."""
    results = {}
    with cancel.engine() as listener:
        for name in plan.peers:
            peer = await peers.start(name, listener.getsockname()[1], processes, cpus, probe=False)
            results[name] = await asyncio.to_thread(cancel.measure, peer.port, listener, CANCELS)
            processes.stop(peer.child)
    return results


async def proxy(plan: ProxyPlan, screen: Screen) -> dict[str, Any]:
    """Sets everything up, measures, cleans up. Raises BenchError."""
    layout = lay_out(plan.layout, place(available()))
    with Processes() as processes:
        cancels = await measure_cancels(plan, processes, layout.proxies)
        backend = await start_backend(processes, layout.backend)
        starts: list[Awaitable[Peer]] = [
            peers.start(name, backend.port, processes, layout.proxies) for name in plan.peers
        ]
        running = [backend, *[await start for start in starts]]
        bench = Bench(plan, Tools(layout.clients), layout, screen)
        with kept_on(layout.proxies):
            rounds = await run_rounds(bench, running)
    result = report(rounds)
    for name, cases in cancels.items():
        result["peers"][name]["cancel_us"] = cases
    return {**result, "layout": layout.name, "placement": str(layout)}
