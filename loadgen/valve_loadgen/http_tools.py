"""Owns the measuring programs: wrk for saturation, http_client (native/bench) for everything exact."""

import asyncio
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import orjson

from valve_loadgen.cpus import cores
from valve_loadgen.errors import BenchError

FOLDER = Path(__file__).parent
SCRIPT = FOLDER / "peers" / "completion.lua"
CONNECTIONS = 64
COUNTED = re.compile(r"(\d+) requests in ([0-9.]+)(ms|s|m)")
FAULTS = re.compile(r"Non-2xx or 3xx responses: (\d+)|Socket errors: (.*)")
UNIT_S = {"ms": 1e-3, "s": 1.0, "m": 60.0}


def program(name: str) -> Path:
    """Raises BenchError with the mend."""
    path = FOLDER / name
    if not path.is_file():
        raise BenchError(f"no {name} in {FOLDER}: run `make native`")
    return path


@dataclass(frozen=True)
class Streams:
    """What one run of streams saw."""

    ttft_us: list[float]
    events: int


@dataclass(frozen=True)
class Tools:
    """Runs them on `cpus`. All raise BenchError when a program fails."""

    cpus: frozenset[int]

    async def saturate(self, port: int, seconds: float, script: Path = SCRIPT) -> tuple[int, float]:
        """Requests answered, and the time they took in s, at full speed over CONNECTIONS connections."""
        if shutil.which("wrk") is None:
            raise BenchError("wrk is not installed: apt-get install wrk")
        url = f"http://127.0.0.1:{port}/v1/completions"
        options = ["-t1", f"-c{CONNECTIONS}", f"-d{max(1, round(seconds))}s", "-s", str(script), url]
        return parse_wrk(await self._run("wrk", *options))

    async def latency(
        self, port: int, rps: float, seconds: float, body_bytes: int, seed: int
    ) -> list[tuple[int, int]]:
        """(sent, how long it took) of each request in ns, one connection, jittered schedule."""
        arguments = [str(value) for value in (port, rps, seconds, body_bytes, seed)]
        text = await self._run(str(program("http_client")), "latency", *arguments)
        return [(sent, took) for sent, took in orjson.loads(text)]

    async def wakes(self, cpu: int, rps: float, seconds: float, seed: int) -> list[float]:
        """From a send to its being readable at a bare epoll on core `cpu`, in us."""
        arguments = [str(value) for value in (cpu, rps, seconds, seed)]
        text = await self._run(str(program("http_client")), "wake", *arguments)
        return [took / 1e3 for _, took in orjson.loads(text)]

    async def streams(self, port: int, streams: int, chunks: int, gap_us: int, rounds: int) -> Streams:
        """`rounds` streams after each other on each of `streams` connections."""
        arguments = [str(value) for value in (port, streams, chunks, gap_us, rounds)]
        report = orjson.loads(await self._run(str(program("http_client")), "streams", *arguments))
        return Streams([value / 1e3 for value in report["ttft_ns"]], report["events"])

    async def _run(self, *command: str) -> str:
        pinned = ["taskset", "-c", cores(self.cpus), *command]
        process = await asyncio.create_subprocess_exec(*pinned, stdout=-1, stderr=-1)
        try:
            out, errors = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
        if process.returncode:
            raise BenchError(f"{describe(command)} failed: {errors.decode(errors='replace').strip()}")
        return out.decode()


def describe(command: Sequence[str]) -> str:
    return " ".join((Path(command[0]).name, *command[1:]))


def parse_wrk(text: str) -> tuple[int, float]:
    """From wrk's report. Raises BenchError if any request failed."""
    counted, faults = COUNTED.search(text), FAULTS.search(text)
    if faults:
        raise BenchError(f"wrk saw failures: {faults[0]}")
    if not counted:
        raise BenchError(f"wrk printed no figures: {text[:200]!r}")
    return int(counted[1]), float(counted[2]) * UNIT_S[counted[3]]
