"""Owns the long checks: a trace for an hour while tenants come and go; load beside a crowd of idle streams.

`python -m valve_loadgen.endurance trace --minutes 60` and `... crowd --minutes 10` print JSON and end with 1
if something grew, slowed down or failed. What is measured is read per window, so that a trend shows.
"""

import argparse
import asyncio
import contextlib
import itertools
import sys
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

import orjson

from valve_loadgen import machine, peers
from valve_loadgen.arrivals import Load
from valve_loadgen.client import Client
from valve_loadgen.cpus import available, kept_on, place
from valve_loadgen.errors import BenchError
from valve_loadgen.exact_mock import exact_mock
from valve_loadgen.exchange import Exchange
from valve_loadgen.http_tools import Tools
from valve_loadgen.openloop import replay
from valve_loadgen.peers import Peer
from valve_loadgen.processes import Processes
from valve_loadgen.proxy import start_backend
from valve_loadgen.slow_clients import SlowClients
from valve_loadgen.soak import open_files, open_streams, resident_kib
from valve_loadgen.stats import percentile
from valve_loadgen.target import Target

TTFT_MS = 20.0  # of the mock; what is above it was added on the way
TENANT_S = 7.0  # how long a tenant stays
TENANT = "import time\nwhile True: time.sleep(0.001)"
GROWTH_MAX, GROWTH_KIB = 1.05, 2048  # of memory, from the middle to the end: caches fill up in the first half
SLOWER_MAX, SLOWER_MS = 1.5, 1.0  # the same of p99
FILES_MAX = 16  # connections that are kept


@dataclass(frozen=True)
class Window:
    """`errors`: requests that failed; `p99_ms`: added to TTFT (trace), of whole requests (crowd)."""

    requests: int
    errors: int
    p99_ms: float
    kib: int
    files: int


def judge(windows: Sequence[Window]) -> list[str]:
    """What is wrong, for people. The second half is compared with the first; two windows are too few."""
    problems = [
        f"window {i}: {window.errors} requests failed" for i, window in enumerate(windows) if window.errors
    ]
    half = len(windows) // 2
    if half < 2:
        return problems
    first, last = windows[:half], windows[-half:]
    kib, later_kib = median(each.kib for each in first), median(each.kib for each in last)
    if later_kib > GROWTH_MAX * kib + GROWTH_KIB:
        problems.append(f"memory grew from {kib:.0f} to {later_kib:.0f} KiB")
    slow, later = median(each.p99_ms for each in first), median(each.p99_ms for each in last)
    if later > SLOWER_MAX * slow + SLOWER_MS:
        problems.append(f"p99 went from {slow:.2f} to {later:.2f} ms")
    files = max(each.files for each in last) - max(each.files for each in first)
    if files > FILES_MAX:
        problems.append(f"{files} more descriptors")
    return problems


# ---- a trace, and tenants that come and go ----


async def trace(minutes: float, window_s: float, keep: float) -> list[Window]:
    placement = place(available())
    load = Load(keep=keep)
    with (
        Processes() as processes,
        kept_on(placement.others),
        exact_mock(placement.engines, TTFT_MS) as mock,
    ):
        assert mock.target.port is not None
        peer = await peers.start("valve", mock.target.port, processes, placement.others)
        client = Client(Target(port=peer.port))
        async with coming_and_going(processes, placement.engines):
            count = max(1, round(minutes * 60 / window_s))
            windows = [await _trace_window(client, peer, load, i, window_s) for i in range(count)]
        client.close()
    return windows


async def _trace_window(client: Client, peer: Peer, load: Load, index: int, window_s: float) -> Window:
    begun_s = time.monotonic()
    done = await replay(client, load.round(index, window_s), time.monotonic_ns(), f"w{index}-")
    await asyncio.sleep(max(0.0, begun_s + window_s - time.monotonic()))
    added_ms = [_added_ms(each) for each in done if each.ok] or [0.0]
    failed = sum(not each.ok for each in done)
    return Window(len(done), failed, percentile(added_ms, 0.99), resident_kib(peer), open_files(peer))


def _added_ms(exchange: Exchange) -> float:
    return (exchange.token_ns[0] - exchange.send_ns) / 1e6 - TTFT_MS


@contextlib.asynccontextmanager
async def coming_and_going(processes: Processes, cpus: frozenset[int]) -> AsyncIterator[None]:
    """One tenant after another, each of them ended as a batch system would."""

    async def go_on() -> None:
        for number in itertools.count():
            command = [
                sys.executable,
                "-m",
                "valve_sidecar",
                "run",
                "--device",
                "cpu",
                "--job",
                f"soak-{number}",
            ]
            tenant = processes.start("tenant", [*command, "--", sys.executable, "-c", TENANT], cpus)
            await asyncio.sleep(TENANT_S)
            await asyncio.to_thread(processes.stop, tenant)

    going = asyncio.create_task(go_on())
    try:
        yield
    finally:
        going.cancel()
        await asyncio.gather(going, return_exceptions=True)


# ---- a crowd ----


async def crowd(minutes: float, window_s: float, streams: int, rps: float, slow: int) -> list[Window]:
    """`streams` that have had their first event and stay silent, `slow` clients, and `rps` beside them."""
    placement = place(available())
    tools = Tools(placement.engines)
    with Processes() as processes:
        backend = await start_backend(processes, placement.engines)
        peer = await peers.start("valve_workers", backend.port, processes, placement.others)
        with open_streams(peer.port, streams), SlowClients(peer.port, slow) as slowly:
            count = max(1, round(minutes * 60 / window_s))
            windows = [await _crowd_window(tools, peer, slowly, rps, window_s, i) for i in range(count)]
    return windows


async def _crowd_window(
    tools: Tools, peer: Peer, slowly: SlowClients, rps: float, window_s: float, index: int
) -> Window:
    """A request that fails ends the client, and so the run."""
    failed_before = slowly.failed
    samples = await tools.latency(peer.port, rps, window_s, 64, index + 1)
    p99_ms = percentile([took / 1e6 for _, took in samples], 0.99)
    errors = slowly.failed - failed_before
    return Window(len(samples), errors, p99_ms, resident_kib(peer), open_files(peer))


def report(kind: str, windows: Sequence[Window]) -> dict[str, Any]:
    problems = judge(windows)
    return {
        "kind": kind,
        "requests": sum(window.requests for window in windows),
        "problems": problems,
        "windows": [asdict(window) for window in windows],
        "machine": machine.describe(),
    }


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m valve_loadgen.endurance", description=__doc__)
    parser.add_argument("kind", choices=("trace", "crowd"))
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--window-s", type=float, default=20.0)
    parser.add_argument("--keep", type=float, default=0.5, help="share of the trace's requests (trace)")
    parser.add_argument("--streams", type=int, default=10_000, help="idle ones (crowd)")
    parser.add_argument("--rps", type=float, default=2_000, help="(crowd)")
    parser.add_argument("--slow", type=int, default=50, help="slow clients (crowd)")
    given = parser.parse_args()
    try:
        if given.kind == "trace":
            windows = asyncio.run(trace(given.minutes, given.window_s, given.keep))
        else:
            windows = asyncio.run(crowd(given.minutes, given.window_s, given.streams, given.rps, given.slow))
    except BenchError as error:
        print(f"endurance: {error}", file=sys.stderr)
        return 1
    result = report(given.kind, windows)
    print(orjson.dumps(result, option=orjson.OPT_INDENT_2).decode())
    return 1 if result["problems"] else 0


if __name__ == "__main__":
    sys.exit(main())
