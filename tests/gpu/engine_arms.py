"""Part (f) with real engines: online alone, offline alone, both sharing the GPU, both under Valve with either
policy; interleaved.

    python engine_arms.py MODEL[,OFFLINE_MODEL]          (see engine_models.py)

Under Valve the online engine stands behind `valve serve` and the offline one runs by `valve run`. Where the
sidecar's packages are missing that arm is left out, and said so: part "pair" measures the same by the C
interface. Ends within KIT_LIMIT_S by playing fewer rounds. The SLO of policy budget is SLO_TIMES what a token
takes online alone.
"""

import contextlib
import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean, quantiles

from engine_client import Measured, load, wait_answering
from engine_offline import read_count, write_new

HERE = Path(__file__).resolve().parent
READY_S = 90.0
END_S = 10.0
ROUNDS_MAX = 3
SIDECAR_NEEDS = ("aiohttp", "httpx", "orjson", "prometheus_client", "pynvml", "rich", "uvloop")
ALONE, OFFLINE, SHARED = "online alone", "offline alone", "both, default time-slicing"
DRAIN, BUDGET = "both, Valve", "both, Valve, policy budget"
ARMS = (ALONE, OFFLINE, SHARED, DRAIN, BUDGET)
SLO_TIMES = 5.0


@dataclass(frozen=True)
class Plan:
    model: str  # the online engine's
    offline_model: str
    seconds: float
    per_second: float
    online_tokens: int
    offline_tokens: int


@dataclass
class Outcome:
    """Of one arm, over its rounds."""

    measured: Measured = field(default_factory=Measured)
    offline_tokens_per_s: list[float] = field(default_factory=list)
    utilisation: list[float] = field(default_factory=list)
    slo_s: float = 0.0
    """A token's, where there is one."""


def plan_for(models: str) -> Plan:
    model, _, other = models.partition(",")
    pair = model, other or model
    if model == "stand-in":
        return Plan(*pair, seconds=0.5, per_second=10, online_tokens=8, offline_tokens=4)
    return Plan(*pair, seconds=8.0, per_second=0.5, online_tokens=32, offline_tokens=32)


def has_sidecar() -> bool:
    return all(importlib.util.find_spec(name) is not None for name in SIDECAR_NEEDS)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def process(command: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    """Ends it by SIGTERM, with all that it started."""
    child = subprocess.Popen(command, stdout=sys.stderr, start_new_session=True)
    try:
        yield child
    finally:
        for number in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(END_S)
                break


class Utilisation:
    """NVML's mean over a stretch of time; None without NVML."""

    def __init__(self) -> None:
        self._handle = None
        with contextlib.suppress(Exception):
            import pynvml

            pynvml.nvmlInit()
            self._handle, self._nvml = pynvml.nvmlDeviceGetHandleByIndex(0), pynvml

    @contextlib.contextmanager
    def recorded(self, into: list[float]) -> Iterator[None]:
        """From NVML's own samples of the stretch."""
        begin_us = time.time_ns() // 1000
        yield
        if self._handle is None:
            return
        with contextlib.suppress(Exception):
            kind = self._nvml.NVML_GPU_UTILIZATION_SAMPLES
            _, samples = self._nvml.nvmlDeviceGetSamples(self._handle, kind, begin_us)
            into.append(mean(sample.sampleValue.uiVal for sample in samples))


class Stage:
    """The online engine and its sidecars, which stay; the offline one comes and goes with the arms."""

    def __init__(self, plan: Plan, folder: Path, stack: contextlib.ExitStack) -> None:
        self.plan, self._folder, self._stack = plan, folder, stack
        self.port = free_port()
        self.sidecars: dict[str, int] = {}
        """By arm, the port of the sidecar that is before the engine then."""
        self._device = ["--device", "cpu"] if plan.model == "stand-in" else ["--device", "0"]
        stack.enter_context(process(self._online()))
        if not wait_answering(self.port, READY_S):
            raise SystemExit("the online engine does not answer")

    def gate(self, arm: str, *options: str) -> None:
        """Puts another sidecar before the engine, for `arm`, if that can be had."""
        port = free_port()
        if not has_sidecar():
            return
        self._stack.enter_context(process(self._sidecar(port, *options)))
        if wait_answering(port, 20):
            self.sidecars[arm] = port

    def _online(self) -> list[str]:
        if self.plan.model != "vllm":
            return [sys.executable, str(HERE / "engine_online.py"), self.plan.model, str(self.port)]
        server = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--load-format", "dummy"]
        server += ["--model", os.environ["KIT_VLLM_MODEL"], "--served-model-name", "kit"]
        return [*server, "--gpu-memory-utilization", "0.4", "--port", str(self.port)]

    def _valve(self, *arguments: str) -> list[str]:
        return [
            sys.executable,
            "-m",
            "valve_sidecar",
            *arguments,
            "--runtime-dir",
            str(self._folder / "valve"),
        ]

    def _sidecar(self, port: int, *options: str) -> list[str]:
        return [
            *self._valve("serve", "--upstream", f"http://127.0.0.1:{self.port}", *self._device),
            *("--listen", f"127.0.0.1:{port}", "--admin", f"unix:{self._folder}/admin-{port}", *options),
        ]

    def offline(self, counter: Path, gated: bool) -> list[str]:
        model = self.plan.offline_model
        command = [sys.executable, str(HERE / "engine_offline.py"), model, str(counter)]
        command.append(str(self.plan.offline_tokens))
        engine = model if model in ("vllm", "sglang") else "auto"
        return [*self._valve("run", "--engine", engine, *self._device), "--", *command] if gated else command


@contextlib.contextmanager
def offline_running(stage: Stage, folder: Path, gated: bool) -> Iterator[Path]:
    """Yields its counter once it has generated something."""
    counter = folder / "tokens"
    write_new(counter)
    with process(stage.offline(counter, gated)) as child:
        deadline = time.monotonic() + READY_S
        while read_count(counter) <= 0:
            if child.poll() is not None or time.monotonic() > deadline:
                raise SystemExit("the offline engine does not start")
            time.sleep(0.02)
        yield counter


def play(
    stage: Stage, arm: str, round_number: int, folder: Path, meter: Utilisation, outcome: Outcome
) -> None:
    gated, online, offline = arm in stage.sidecars, arm != OFFLINE, arm != ALONE
    port = stage.sidecars.get(arm, stage.port)
    with contextlib.ExitStack() as stack:
        counter = stack.enter_context(offline_running(stage, folder, gated)) if offline else None
        before, begin = read_count(counter) if counter else 0, time.monotonic()
        with meter.recorded(outcome.utilisation):
            if online:
                plan = stage.plan
                outcome.measured.extend(
                    load(port, plan.seconds, plan.per_second, plan.online_tokens, round_number)
                )
            else:
                time.sleep(stage.plan.seconds)
        if counter:
            tokens = read_count(counter) - before
            outcome.offline_tokens_per_s.append(tokens / (time.monotonic() - begin))


def play_round(
    stage: Stage, number: int, folder: Path, meter: Utilisation, outcomes: dict[str, Outcome]
) -> None:
    for arm in ARMS:
        if arm == BUDGET and number == 0 and (alone_s := outcomes[ALONE].measured.token_s):
            outcomes[arm].slo_s = SLO_TIMES * mean(alone_s)
            stage.gate(arm, "--policy", "budget", "--slo-tpot-ms", f"{outcomes[arm].slo_s * 1e3:.3f}")
        if arm in stage.sidecars or arm not in (DRAIN, BUDGET):
            play(stage, arm, number, folder, meter, outcomes[arm])


def play_rounds(plan: Plan, deadline: float) -> dict[str, Outcome]:
    outcomes = {arm: Outcome() for arm in ARMS}
    meter = Utilisation()
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        stage = Stage(plan, folder, stack)
        stage.gate(DRAIN)
        for round_number in range(1 if plan.model == "stand-in" else ROUNDS_MAX):
            begin = time.monotonic()
            play_round(stage, round_number, folder, meter, outcomes)
            if time.monotonic() + (time.monotonic() - begin) > deadline:
                break
    return outcomes


def percentiles(seconds: list[float]) -> dict[str, float]:
    """In microseconds, as the C parts have it."""
    cuts = quantiles(seconds, n=100, method="inclusive") if len(seconds) > 1 else seconds * 99
    chosen = {"p50": cuts[49], "p90": cuts[89], "p99": cuts[98], "max": max(seconds)}
    return {"n": len(seconds)} | {key: round(value * 1e6, 1) for key, value in chosen.items()}


def ratio(values: list[float], base: list[float]) -> float | None:
    return round(mean(values) / mean(base), 4) if values and base and mean(base) else None


def describe(arm: str, outcomes: dict[str, Outcome]) -> dict[str, object]:
    outcome, alone, offline = outcomes[arm], outcomes[ARMS[0]].measured, outcomes[ARMS[1]]
    record: dict[str, object] = {"name": f"engines: {arm}"}
    if outcome.measured.first_s:
        record["first_us"] = percentiles(outcome.measured.first_s)
        record["token_us"] = percentiles(outcome.measured.token_s)
        record["first_mean_over_alone"] = ratio(outcome.measured.first_s, alone.first_s)
        record["token_mean_over_alone"] = ratio(outcome.measured.token_s, alone.token_s)
    if outcome.slo_s and outcome.measured.token_s:
        record["slo_ms"] = round(outcome.slo_s * 1e3, 3)
        record["within_slo"] = mean(token_s <= outcome.slo_s for token_s in outcome.measured.token_s)
    if outcome.offline_tokens_per_s:
        record["offline_tokens_per_s"] = round(mean(outcome.offline_tokens_per_s), 1)
        record["harvested_share"] = ratio(outcome.offline_tokens_per_s, offline.offline_tokens_per_s)
    if outcome.utilisation:
        record["utilisation"] = round(mean(outcome.utilisation), 1)
    played = bool(outcome.measured.first_s or outcome.offline_tokens_per_s)
    record["failures"] = outcome.measured.failures
    record["verdict"] = "failed" if outcome.measured.failures else "ok" if played else "skipped"
    return record


def render(value: object) -> str:
    if not isinstance(value, dict):
        return str(value)
    return "/".join(f"{value[key]:g}" for key in ("p50", "p90", "p99", "max"))


def write(record: dict[str, object]) -> None:
    details = "  ".join(f"{k} {render(v)}" for k, v in record.items() if k not in ("name", "verdict"))
    row = f"{record['name']:<46}  {details}  [{record['verdict']}]"
    for variable, line in (("KIT_RECORDS", json.dumps(record, separators=(",", ":"))), ("KIT_ROWS", row)):
        if path := os.environ.get(variable):
            with Path(path).open("a") as file:
                file.write(line + "\n")
    print(row, flush=True)


def main(models: str) -> int:
    deadline = time.monotonic() + float(os.environ.get("KIT_LIMIT_S", "150")) - 15
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    outcomes = play_rounds(plan_for(models), deadline)
    records = [describe(arm, outcomes) for arm in ARMS]
    for record in records:
        write(record)
    return 1 if any(record["verdict"] == "failed" for record in records) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
