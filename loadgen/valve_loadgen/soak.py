"""Owns the checks that take long: memory per idle stream, connections that come and go, growth over time.

`python -m valve_loadgen.soak --streams 9900 --minutes 1 --peer valve --peer nginx` prints JSON. A stream
takes two file descriptors of the proxy: `ulimit -n` bounds how many can be open.
"""

import argparse
import asyncio
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson

from valve_loadgen import machine, peers
from valve_loadgen.cpus import available, place
from valve_loadgen.http_tools import FOLDER, Tools, program
from valve_loadgen.peers import Peer
from valve_loadgen.processes import Processes
from valve_loadgen.proxy import start_backend

CHURN_SCRIPT = FOLDER / "peers" / "churn.lua"  # every request on a connection of its own
SETTLE_S = 2.0


def resident_kib(peer: Peer) -> int:
    """Of all its processes."""
    return sum(_resident_kib(pid) for pid in peers.session_members(peer.child.process.pid))


def _resident_kib(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("VmRSS:"))


def open_files(peer: Peer) -> int:
    return sum(
        len(list(Path(f"/proc/{pid}/fd").iterdir())) for pid in peers.session_members(peer.child.process.pid)
    )


@contextmanager
def open_streams(port: int, count: int) -> Iterator[None]:
    """`count` streams that have had their first event and stay silent."""
    command = [str(program("http_client")), "idle", str(port), str(count)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as client:
        assert client.stdin
        assert client.stdout
        if not client.stdout.readline():
            raise SystemExit(f"soak: {count} streams could not be opened; see `ulimit -n`")
        yield
        client.stdin.close()


async def idle(peer: Peer, streams: int) -> dict[str, Any]:
    before_kib, files = resident_kib(peer), open_files(peer)
    with open_streams(peer.port, streams):
        held_kib = resident_kib(peer)
    await asyncio.sleep(SETTLE_S)
    return {
        "kib_per_stream": (held_kib - before_kib) / streams,
        "kib_before": before_kib,
        "kib_after": resident_kib(peer),
        "files_left": open_files(peer) - files,
    }


async def churn(peer: Peer, tools: Tools, minutes: float) -> dict[str, Any]:
    """Memory after each tenth of the time: it must level off."""
    files, kib, requests = open_files(peer), [], 0
    for _ in range(10):
        requests += (await tools.saturate(peer.port, minutes * 6, CHURN_SCRIPT))[0]
        kib.append(resident_kib(peer))
    await asyncio.sleep(SETTLE_S)
    return {"requests": requests, "kib": kib, "files_left": open_files(peer) - files}


async def soak(names: list[str], streams: int, minutes: float) -> dict[str, Any]:
    placement, results = place(available()), {}
    tools = Tools(placement.engines)
    with Processes() as processes:
        backend = await start_backend(processes, placement.engines)
        for name in names:
            peer = await peers.start(name, backend.port, processes, placement.others)
            results[name] = {"idle": await idle(peer, streams), "churn": await churn(peer, tools, minutes)}
            processes.stop(peer.child)
    return {"peers": results, "streams": streams, "machine": machine.describe()}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m valve_loadgen.soak", description=__doc__)
    parser.add_argument("--streams", type=int, default=9900)
    parser.add_argument("--minutes", type=float, default=1.0, help="of connection churn (1)")
    parser.add_argument("--peer", action="append", help="repeatable (valve)")
    arguments = parser.parse_args()
    report = asyncio.run(soak(arguments.peer or ["valve"], arguments.streams, arguments.minutes))
    print(orjson.dumps(report, option=orjson.OPT_INDENT_2).decode())
    return 0


if __name__ == "__main__":
    sys.exit(main())
