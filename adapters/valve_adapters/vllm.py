"""vLLM: the routes of its API server, and its load from /metrics. Facts: vLLM 0.33.0, paths below vllm/."""

from __future__ import annotations

import math

import httpx

from . import prometheus
from .adapter import Kv, Load, TokenCounter
from .preset import WEEK_S, KvPool, Limit, Preset, Server
from .routes import computes
from .tokens import ResponseCounter

IDLE_ROUTES = frozenset(
    {
        # text in, text out, on the CPU
        "/detokenize",
        "/tokenize",
        # probes
        "/is_scaling_elastic_ep",
        "/ping",
        # administration
        "/abort_requests",
        "/collective_rpc",
        "/fault_tolerance/apply",
        "/finish_weight_update",
        "/inference/v1/abort_requests",
        "/init_weight_transfer_engine",
        "/pause",
        "/release_kv_cache_memory",
        "/reset_encoder_cache",
        "/reset_mm_cache",
        "/reset_prefix_cache",
        "/resume",
        "/scale_elastic_ep",
        "/shutdown_weight_transfer_engine",
        "/sleep",
        "/start_draft_weight_update",
        "/start_profile",
        "/start_weight_update",
        "/stop_profile",
        "/update_weight_version",
        "/update_weights",
        "/v1/load_lora_adapter",
        "/v1/unload_lora_adapter",
        "/wake_up",
        "/weight_checker",
    }
)
IDLE_ENDINGS = ("/cancel", "/count_tokens", "/derender", "/render")

# blocks/vllm.py refuses what a program sets by itself. Block-outermost, so that a block lies on few pages; of
# such layouts the one that most backends read.
SCHEDULER = "valve_adapters.blocks.vllm.LeasedScheduler"
KV_POOL = KvPool(
    flags=(("--scheduler-cls", SCHEDULER), ("--kv-cache-memory-bytes", "{bytes}")),
    keywords=f'LLM(..., scheduler_cls="{SCHEDULER}", kv_cache_memory_bytes={{bytes}})',
    environment={"VLLM_KV_CACHE_LAYOUT": "BLHNC"},
    refused=(
        "--tensor-parallel-size",
        "-tp",
        "--pipeline-parallel-size",
        "-pp",
        "--data-parallel-size",
        "-dp",
        "--kv-transfer-config",
        "--speculative-config",
    ),
)

# The limit is on a step with several workers (v1/executor/multiproc_executor.py:414; envs.py:1864).
PRESET = Preset(
    programs=("vllm",),
    launchers=(
        ("vllm", "serve"),
        ("vllm", "run-batch"),
        ("-m", "vllm.entrypoints.openai.api_server"),
        ("-m", "vllm.entrypoints.openai.run_batch"),
    ),
    environment={
        "VLLM_ENGINE_READY_TIMEOUT_S": str(WEEK_S),  # it may be stopped while it starts (envs.py:814)
        "VLLM_NO_USAGE_STATS": "1",
    },
    limit=Limit(300, variable="VLLM_EXECUTE_MODEL_TIMEOUT_SECONDS"),
    kv_pool=KV_POOL,
    server=Server(  # v1/metrics/loggers.py
        launchers=(("vllm", "serve"), ("-m", "vllm.entrypoints.openai.api_server")),
        port=8000,
        tokens="vllm:generation_tokens_total",
        input_tokens="vllm:prompt_tokens_total",
    ),
)


class VllmAdapter:
    """Implements adapter.Adapter."""

    name = "vllm"
    owner = "vllm"  # entrypoints/serve/engine/protocol.py:109
    health_path = (
        "/health"  # only whether the engine has died (entrypoints/serve/instrumentator/health.py:22)
    )
    keepalive_s = 5.0  # envs.py:1136
    reuses_after_stream = True
    ask_again_s = 0.1
    guard_s = 0.2  # it aborts at once; the step that is launched already runs on
    preset = PRESET

    def is_inference(self, method: str, path: str, *, upgrade: bool) -> bool:
        return computes(method, path, upgrade, IDLE_ROUTES, IDLE_ENDINGS)

    def counter(self, path: str) -> TokenCounter:  # noqa: ARG002 - one counter reads every dialect
        return ResponseCounter()

    async def load(self, client: httpx.AsyncClient) -> Load | None:
        response = await client.get("/metrics")
        return from_metrics(response.content) if response.status_code == 200 else None

    async def capacity(self, client: httpx.AsyncClient) -> int:  # noqa: ARG002 - it does not tell
        return 0

    async def kv(self, client: httpx.AsyncClient) -> Kv | None:
        response = await client.get("/metrics")
        return kv_from_metrics(response.content) if response.status_code == 200 else None


def from_metrics(text: bytes) -> Load | None:
    """From Prometheus text (v1/metrics/loggers.py:528); None if the gauges are not there, as with
    --disable-log-stats.
    """
    running = prometheus.total(text, "vllm:num_requests_running")
    if running is None:
        return None
    waiting = prometheus.total(text, "vllm:num_requests_waiting") or 0
    return Load(running, waiting, prometheus.fraction(text, "vllm:kv_cache_usage_perc"))


def kv_from_metrics(text: bytes) -> Kv | None:
    """As from_metrics; the cache's size is in the labels of an info metric (v1/metrics/loggers.py)."""
    usage = prometheus.fraction(text, "vllm:kv_cache_usage_perc")
    if usage is None:
        return None
    sizes = [
        prometheus.label(text, "vllm:cache_config_info", name) for name in ("block_size", "num_gpu_blocks")
    ]
    return Kv.of(1.0 - usage, math.prod(int(size) if size.isdecimal() else 0 for size in sizes))
