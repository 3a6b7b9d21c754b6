"""What online requests notice while the runtime is wedged: `python -m bench.fast_path` in tests/.

For each way of wedging it: latencies of the same requests while all is well and while it is wedged, in turn,
and those of the backend reached directly. Prints JSON: what the sidecar adds at p50 and p99 in either case,
and the ratio. The cool-down is so short that nearly every request closes the gate.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import orjson

from chaos.faults import do
from chaos.history import History
from chaos.lane import directory
from chaos.scenario import CASTS, Step
from chaos.stage import Stage
from valve_loadgen import machine
from valve_loadgen.cpus import available
from valve_loadgen.http_tools import Tools, program
from valve_loadgen.lab import free_port
from valve_loadgen.stats import percentile

GOAL = 2.0  # wedged over healthy, of what is added at p99
RPS, BODY_BYTES = 150, 64
WEDGES = {
    "alone": (
        "stop_run",  # the agents hang
        "stop_guardian",
        "stop_tenant",
        "hinder_tenant",  # the freezer waits for ever
        "fork_tenant",
        "locked_segment",
        "full_tables",
        "scribble_header",
        "full_disk",
        "full_log",  # nobody reads the log
        "stuck_admin",
        "no_processes",
    ),
    "aiohttp": ("stop_exporter", "full_log", "stuck_admin", "stop_run"),  # with a collector that is gone
}


class FastPath:
    """One cast, measured with its sidecar before a backend that answers at once."""

    def __init__(self, stage: Stage, backend: int, slot_s: float) -> None:
        self._stage, self._backend, self._slot_s = stage, backend, slot_s
        self._tools = Tools(frozenset(available()))
        self._slots = 0
        self.samples: dict[str, list[list[float]]] = {}

    def round(self, wedge: str) -> None:
        """Direct, healthy and wedged, right after each other."""
        slots = self.samples.setdefault(wedge, [[], [], []])
        slots[0] += self._latencies_us(self._backend)
        slots[1] += self._latencies_us(self._port)
        with do(self._stage, Step(0, "open", (wedge,), 0.0, 0.1, self._slots)):
            slots[2] += self._latencies_us(self._port)
        self._stage.restore()

    @property
    def _port(self) -> int:
        return int(self._stage.players.sidecar.listen.rpartition(":")[2])

    def _latencies_us(self, port: int) -> list[float]:
        self._slots += 1
        taken = self._tools.latency(port, RPS, self._slot_s, BODY_BYTES, self._slots)
        return [took / 1e3 for _, took in asyncio.run(taken)]


def summary(slots: list[list[float]]) -> dict[str, Any]:
    """What is added to direct in us, at both quantiles. Where nothing is, the machine was too busy."""
    figures: dict[str, Any] = {"requests": len(slots[2])}
    for name, q in (("p50", 0.5), ("p99", 0.99)):
        direct, healthy, wedged = (percentile(samples, q) for samples in slots)
        figures[f"healthy_{name}_us"] = round(healthy - direct, 1)
        figures[f"wedged_{name}_us"] = round(wedged - direct, 1)
        ratio = round((wedged - direct) / (healthy - direct), 2) if healthy > direct else None
        figures[f"ratio_{name}"] = ratio
    return figures | {"verdict": "noise" if ratio is None else "met" if ratio <= GOAL else "missed"}


@contextmanager
def backend() -> Iterator[int]:
    """Its port."""
    port = free_port()
    process = subprocess.Popen([str(program("http_backend")), str(port)], stdout=subprocess.DEVNULL)
    try:
        yield port
    finally:
        process.kill()
        process.wait()


def measure(cast: str, rounds: int, slot_s: float) -> dict[str, Any]:
    with contextlib.ExitStack() as opened:
        port = opened.enter_context(backend())
        played = replace(CASTS[cast], serve=(*CASTS[cast].serve, "--cooldown-ms", "1"))
        made = opened.enter_context(directory())
        stage = Stage(played, made, History(cast, 0), f"http://127.0.0.1:{port}")
        opened.callback(stage.close)
        time.sleep(1)
        path = FastPath(stage, port, slot_s)
        for _ in range(rounds):
            for wedge in WEDGES[cast]:
                path.round(wedge)
    return {wedge: summary(slots) for wedge, slots in path.samples.items()}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.fast_path", description=__doc__)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument(
        "--slot-s", type=float, default=1.0, help="of requests, three times per wedge and round"
    )
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # ends all that it has started
    casts = {cast: measure(cast, arguments.rounds, arguments.slot_s) for cast in WEDGES}
    report = {"machine": machine.describe(), "rps": RPS, "goal": GOAL, "casts": casts}
    print(orjson.dumps(report, option=orjson.OPT_INDENT_2).decode())
    missed = [wedge for cast in casts.values() for wedge, told in cast.items() if told["verdict"] != "met"]
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
