"""The Ray example, run for real: two workers with tenants for engines, beside an online engine in use."""

import asyncio
import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from valve_loadgen.lab import Lab, opened_lab
from valve_loadgen.processes import Child
from valve_loadgen.target import Target

from .chart import ROOT

WORKERS = 2
ROWS = [{"prompt": f"The number {number} is", "max_tokens": 64} for number in range(8)]
VALVE = f"{sys.executable} -m valve_sidecar"
ENGINE = [sys.executable, "-m", "valve_loadgen.engine", "--port", "{port}"]
END_S = 240.0


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Ray's own, with a short path: there are sockets in it."""
    with tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True) as path:
        monkeypatch.setenv("RAY_TMPDIR", path)
        monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        monkeypatch.setenv("RAY_prestart_worker_first_driver", "0")  # its node has to be up within 30 s
        yield Path(path)


async def test_two_workers_in_the_idle_moments_of_an_online_engine(folder: Path) -> None:
    (folder / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    with opened_lab() as lab:
        online = await lab.start_sidecar(await lab.start_engine("online"), "--cooldown-ms", "50")
        batch = start_batch(lab, folder)
        async with asyncio.timeout(END_S):
            stopped = await ask_while_it_runs(lab, batch, online)
        assert batch.process.returncode == 0, batch.log_end(40)
        assert len(stopped) == WORKERS
        assert [row for row in (await lab.state())["tenants"] if row["alive"]] == []
    done = results(folder)
    assert sorted(row["prompt"] for row in done) == sorted(row["prompt"] for row in ROWS)
    assert all(row["text"] for row in done)


def start_batch(lab: Lab, folder: Path) -> Child:
    options = ["--workers", str(WORKERS), "--valve", VALVE]
    command = [sys.executable, str(ROOT / "deploy/examples/ray/batch.py")]
    return lab.start(
        "batch", [*command, str(folder / "in.jsonl"), str(folder / "out"), *options, "--", *ENGINE], None
    )


async def ask_while_it_runs(lab: Lab, batch: Child, online: Target) -> set[str]:
    """An online request whenever a tenant runs; returns the jobs that were seen stopped."""
    stopped: set[str] = set()
    async with httpx.AsyncClient(base_url=str(online), timeout=END_S) as client:
        while batch.process.poll() is None:
            await asyncio.sleep(0.05)
            tenants = [row for row in (await lab.state())["tenants"] if row["alive"]]
            stopped |= {row["job"] for row in tenants if row["stops"]}
            if any(row["state"] == "running" for row in tenants):
                await complete(client)
    return stopped


async def complete(client: httpx.AsyncClient) -> None:
    (await client.post("/v1/completions", json={"prompt": "Once", "max_tokens": 8})).raise_for_status()


def results(folder: Path) -> list[dict[str, Any]]:
    files = (folder / "out").glob("*.json*")
    return [json.loads(line) for file in files for line in file.read_text().splitlines()]
