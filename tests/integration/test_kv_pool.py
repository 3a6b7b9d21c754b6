"""`valve run --kv-pool` on the fake GPU: an online engine and a tenant share its memory by the page."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from valve_runtime.ledger import Ledger, PartyView
from valve_runtime.pool import PoolTable

from . import fake_gpu
from .stage import DEADLINE_S, wait_until

pytestmark = pytest.mark.integration

DEVICE_PAGES = 20
PAGE = 2 << 20


class Engine:
    """`valve run` of native/tests/programs/pooled.c, which keeps its KV in a pool and looks for errors."""

    def __init__(self, folder: Path, job: str, *options: str) -> None:
        self.folder, self._report = folder, folder / f"{job}.report"
        role = "online" if "--online" in options else "offline"
        program = [str(fake_gpu.find("pooled")), str(self._report), role]
        self.process = valve_run(folder, "--job", job, *options, "--", *program)

    def word(self, index: int) -> int:
        """native/tests/programs/hammer.h."""
        raw = self._report.read_bytes() if self._report.exists() else b""
        return int(struct.unpack_from("<I", raw.ljust(64, b"\0"), 4 * index)[0])

    def tell(self, index: int, value: int) -> None:
        with self._report.open("r+b") as file:
            file.seek(4 * index)
            file.write(struct.pack("<I", value))

    def wait_ready(self) -> None:
        wait_until(lambda: self.word(0) or self.process.poll() is not None, "the engine has its pool")
        assert self.process.poll() is None, self.process.communicate()[1]

    def has_seen_errors(self) -> bool:
        """Another's bytes, or contents that went without a word."""
        return any(self.word(index) for index in (10, 12))

    def leave(self) -> None:
        self.tell(2, 1)
        assert self.process.wait(DEADLINE_S) == 0


def valve_run(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    return valve(folder, "run", *arguments)


def valve(folder: Path, command: str, *arguments: str) -> subprocess.Popen[str]:
    driver = "tests.integration.gpu_driver"
    return subprocess.Popen(
        [sys.executable, "-m", driver, command, "--runtime-dir", str(folder), *arguments],
        env=os.environ | fake_gpu.environment() | {"FAKE_GPU_MEMORY": str(folder / "device")},
        cwd=fake_gpu.ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@contextmanager
def started(folder: Path, job: str, *options: str) -> Iterator[Engine]:
    engine = Engine(folder, job, *options)
    try:
        engine.wait_ready()
        yield engine
    finally:
        engine.process.kill()
        engine.process.communicate(timeout=DEADLINE_S)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    with (tmp_path / "device").open("wb") as device:
        device.truncate(DEVICE_PAGES * PAGE)
    return tmp_path


def leased(ledger: Ledger) -> dict[str, int]:
    return {party.name: party.leased for party in ledger.read().parties if party.alive}


def party(ledger: Ledger, name: str) -> PartyView:
    return next(party for party in ledger.read().parties if party.name == name)


def test_memory_follows_the_reservation(folder: Path) -> None:
    online = started(
        folder, "chat", "--gpu", "0", "--online", "--kv-pool", "32MiB", "--kv-pool-start", "8MiB"
    )
    tenant = started(folder, "batch", "--gpu", "0", "--kv-pool", "32MiB")
    with Ledger.open(folder, fake_gpu.GPU) as ledger, online as chat, tenant as batch:
        wait_until(lambda: leased(ledger) == {"chat": 4, "batch": 12}, "each has its share")
        wait_until(lambda: tables(folder) == {4, 12}, "it is there to be used")
        ledger.set_reserved(10)
        wait_until(lambda: leased(ledger) == {"chat": 10, "batch": 6}, "online has got what was reserved")
        wait_until(lambda: party(ledger, "chat").received == 6, "and has counted what came from the tenant")
        wait_until(lambda: party(ledger, "batch").reclaimed == 6, "the tenant has counted what it gave")
        ledger.set_reserved(1)
        wait_until(lambda: leased(ledger) == {"chat": 1, "batch": 15}, "what is idle has gone back")
        wait_until(lambda: tables(folder) == {1, 15}, "and the engines know")
        assert not chat.has_seen_errors()
        assert not batch.has_seen_errors()
        batch.leave()
        chat.leave()
    assert len(list(folder.glob("pool.*"))) == 1  # online's: its process was the engine itself
    valve_run(folder, "--", "true").communicate(timeout=DEADLINE_S)
    assert not list(folder.glob("pool.*"))


def test_the_gpu_kit_measures_a_reclaim(folder: Path) -> None:
    """tests/gpu/pool_reclaim.py, on the fake GPU."""
    driver = f"{sys.executable} -m tests.integration.gpu_driver"
    done = subprocess.run(
        [sys.executable, "tests/gpu/pool_reclaim.py", "--pages", "6", "--rounds", "2", "--valve", driver],
        env=os.environ | fake_gpu.environment() | {"FAKE_GPU_MEMORY": str(folder / "device")},
        cwd=fake_gpu.ROOT,
        capture_output=True,
        text=True,
        timeout=4 * DEADLINE_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads(done.stdout)
    assert report["ok"]
    assert len(report["rounds"]) == 2


def tables(folder: Path) -> set[int]:
    backed = set()
    for path in folder.glob("pool.*"):
        with PoolTable.open(path) as table:
            backed.add(table.backed)
    return backed


@pytest.mark.parametrize(
    ("options", "code", "text"),
    [
        (["--kv-pool", "1GiB", "--device", "cpu"], 2, "this job computes on the CPU: name one by --gpu"),
        (["--kv-pool", "huge", "--gpu", "0"], 2, 'no size: "huge"; write 24GiB or 512MiB'),
        (["--online", "--gpu", "0"], 1, "give its size by --kv-pool"),
        (["--kv-pool", "4MiB", "--kv-pool-start", "8MiB", "--gpu", "0"], 1, "more than --kv-pool"),
        (["--kv-pool", "4MiB", "--online", "--gpu", "0", "--", "/nowhere"], 1, "/nowhere"),
    ],
)
def test_bad_options_are_told(folder: Path, options: list[str], code: int, text: str) -> None:
    command = [] if "--" in options else ["--", "true"]
    process = valve_run(folder, *options, *command)
    out, err = process.communicate(timeout=DEADLINE_S)
    assert (process.returncode, out) == (code, "")
    assert text in err
    assert not list(folder.glob("pool.*"))
