"""A reclaim of KV memory end to end, on a GPU: an online engine and a tenant with pools, in two processes.

    python tests/gpu/pool_reclaim.py [--pages 512] [--rounds 5]

The tenant fills its pool with marks; then the online engine's share goes up by `--pages` of 2 MiB, and the
time is taken until its table says that they are backed. It must find zeros there, and the tenant must still
compute without an error. Prints JSON; exit code 1 if anything was wrong.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from valve_runtime import native
from valve_runtime.ledger import Ledger, LedgerView, ledgers
from valve_runtime.pool import BACKED, PoolTable

PAGE = native.PAGE_BYTES
MARK = 0xABCD1234
DEADLINE_S = 60.0
SAMPLES = (0, PAGE // 2, PAGE - 4)


class Cuda:
    """The few calls that an engine of this test makes."""

    def __init__(self) -> None:
        self._driver = ctypes.CDLL("libcuda.so.1")
        context = ctypes.c_void_p()
        self.call("cuInit", 0)
        self.call("cuDevicePrimaryCtxRetain", ctypes.byref(context), 0)
        self.call("cuCtxSetCurrent", context)

    def call(self, name: str, *arguments: object) -> None:
        result = self._driver[name](*arguments)
        if result:
            raise SystemExit(f"{name}: error {result}")

    def fill(self, address: int, value: int, size: int) -> None:
        self.call(
            "cuMemsetD32_v2", ctypes.c_uint64(address), ctypes.c_uint(value), ctypes.c_size_t(size // 4)
        )

    def read(self, address: int) -> int:
        word = ctypes.c_uint32()
        self.call("cuMemcpyDtoH_v2", ctypes.byref(word), ctypes.c_uint64(address), ctypes.c_size_t(4))
        return word.value


def engine() -> None:
    """Orders on standard input: mark (all pages), look (how many backed pages show anything but zeros)."""
    cuda = Cuda()
    table = PoolTable.open(Path(os.environ["VALVE_POOL"]))
    allocate = ctypes.CDLL(None).vlv_pool_alloc
    allocate.restype, allocate.argtypes = ctypes.c_void_p, (ctypes.c_ssize_t, ctypes.c_int, ctypes.c_void_p)
    base = allocate(table.pages * PAGE, 0, None)
    print("ready" if base else "no pool", table.path, flush=True)
    for order in sys.stdin:
        if order.strip() == "mark":
            cuda.fill(base, MARK, table.pages * PAGE)
        pages = [page for page in range(table.pages) if table.words[page] & BACKED]
        dirty = sum(any(cuda.read(base + page * PAGE + at) for at in SAMPLES) for page in pages)
        print("seen", dirty, flush=True)


class Engine:
    """This program again, under `valve run`."""

    def __init__(self, valve: list[str], folder: Path, *options: str) -> None:
        command = [*valve, "run", "--runtime-dir", str(folder), "--gpu", "0", *options, "--", sys.executable]
        self._process = subprocess.Popen(
            [*command, __file__, "--engine"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        state, self.table = self._read()
        if state != "ready":
            raise SystemExit("the engine has no pool")

    def order(self, what: str) -> int:
        assert self._process.stdin
        self._process.stdin.write(f"{what}\n")
        self._process.stdin.flush()
        return int(self._read()[1])

    def end(self) -> None:
        self._process.communicate(timeout=DEADLINE_S)

    def _read(self) -> list[str]:
        assert self._process.stdout
        line = self._process.stdout.readline().rsplit(" ", 1)
        if len(line) != 2:
            raise SystemExit("an engine has died")
        return [part.strip() for part in line]


def wait_until(condition: Callable[[], bool]) -> float:
    """Milliseconds that it took; looks as often as it can."""
    began = time.perf_counter()
    while not condition():
        if time.perf_counter() - began > DEADLINE_S:
            raise SystemExit("it took longer than a minute")
    return (time.perf_counter() - began) * 1e3


def one_round(ledger: Ledger, engines: list[Engine], pages: int) -> dict[str, float]:
    online, tenant = engines
    marked = tenant.order("mark")
    with PoolTable.open(Path(online.table)) as table:
        ledger.set_reserved(pages)
        usable_ms = wait_until(lambda: table.backed == pages)
    dirty = online.order("look")
    tenant.order("mark")
    stopped_us = max(party.stopped_ns for party in ledger.read().parties) / 1e3
    return {"usable_ms": usable_ms, "stopped_us": stopped_us, "dirty": dirty, "marked": marked}


def give_back(ledger: Ledger, online: Engine) -> None:
    """The online engine uses nothing: it agrees to all that it is asked for, until the tenant has it."""
    with PoolTable.open(Path(online.table)) as table:
        ledger.set_reserved(0)

        def is_over() -> bool:
            table.say(seen=table.epoch, wanted=0)
            return ledger.read().tenants == ledger.read().limit

        wait_until(is_over)


def measure(valve: list[str], folder: Path, pages: int, rounds: int) -> dict[str, object]:
    size = str(2 * pages * PAGE)
    online = Engine(valve, folder, "--online", "--job", "online", "--kv-pool", size, "--kv-pool-start", "1")
    with Ledger.open(folder, ledgers(folder)[0]) as ledger:
        tenant = Engine(valve, folder, "--job", "tenant", "--kv-pool", size)
        records = []
        for _ in range(rounds):
            give_back(ledger, online)
            records.append(one_round(ledger, [online, tenant], pages))
        view = ledger.read()
        online.end()
        tenant.end()
    return summary(records, view, pages)


def summary(records: list[dict[str, float]], view: LedgerView, pages: int) -> dict[str, object]:
    errors = sum(party.errors for party in view.parties)
    wrong = sum(record["dirty"] for record in records) + errors
    return {
        "pages": pages,
        "rounds": records,
        "usable_ms_p50": statistics.median(record["usable_ms"] for record in records),
        "stopped_us_p50": statistics.median(record["stopped_us"] for record in records),
        "driver_errors": errors,
        "ok": wrong == 0 and all(record["marked"] for record in records),
    }


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--pages", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--valve", default=f"{sys.executable} -m valve_sidecar")
    parser.add_argument("--engine", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.engine:
        engine()
        return 0
    with tempfile.TemporaryDirectory() as folder:
        report = measure(shlex.split(args.valve), Path(folder), args.pages, args.rounds)
    print(json.dumps(report, indent=2))
    return 0 if report["ok"] else 1


if __name__ == "__main__":
    sys.exit(main())
