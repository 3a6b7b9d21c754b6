"""SGLang: the routes of its server, and its load from /v1/loads. Facts: SGLang 0.5.23, paths below
sglang/srt/.
"""

from __future__ import annotations

from typing import Any

import httpx
import orjson

from . import prometheus
from .adapter import Kv, Load, TokenCounter
from .preset import KvPool, Limit, Preset, Server
from .routes import computes
from .tokens import ResponseCounter

IDLE_ROUTES = frozenset(
    {
        # text in, text out, on the CPU
        "/api/show",
        "/detokenize",
        "/parse_function_call",
        "/separate_reasoning",
        "/tokenize",
        "/v1/detokenize",
        "/v1/tokenize",
        # sessions and corpora
        "/add_external_corpus",
        "/close_session",
        "/open_session",
        "/remove_external_corpus",
        # administration
        "/abort_request",
        "/begin_weight_update",
        "/configure_logging",
        "/continue_generation",
        "/destroy_weights_update_group",
        "/dump_expert_distribution_record",
        "/end_weight_update",
        "/flush_cache",
        "/freeze_gc",
        "/get_weights_by_name",
        "/hicache/storage-backend",
        "/hicache/storage-backend/clear",
        "/init_weights_send_group_for_remote_instance",
        "/init_weights_update_group",
        "/load_lora_adapter",
        "/load_lora_adapter_from_tensors",
        "/pause_generation",
        "/pd_role_switch",
        "/release_memory_occupation",
        "/resume_memory_occupation",
        "/scale_elastic_ep",
        "/send_weights_to_remote_instance",
        "/set_internal_state",
        "/set_trace_level",
        "/slow_down",
        "/start_expert_distribution_record",
        "/start_profile",
        "/stop_expert_distribution_record",
        "/stop_profile",
        "/unload_lora_adapter",
        "/update_weight_version",
        "/update_weights_from_disk",
        "/update_weights_from_distributed",
        "/update_weights_from_ipc",
        "/update_weights_from_tensor",
        "/weights_checker",
    }
)
IDLE_ENDINGS = ("/cancel", "/count_tokens")

# blocks/sglang.py refuses the rest. How many tokens fit the pool depends on the model: --max-total-tokens.
KV_POOL = KvPool(
    flags=(
        ("--disable-radix-cache",),
        ("--disable-overlap-schedule",),
        ("--chunked-prefill-size", "-1"),
        ("--page-size", "1"),
    ),
    keywords="sgl.Engine(..., disable_radix_cache=True, disable_overlap_schedule=True, "
    "chunked_prefill_size=-1, page_size=1)",
    environment={"SGLANG_ENABLE_STRICT_MEM_CHECK_DURING_IDLE": "0"},  # it takes held slots for a leak
    refused=("--tp", "--tp-size", "--tensor-parallel-size", "--pp-size", "--dp", "--dp-size"),
)

# The limit is on a forward step (managers/scheduler_components/invariant_checker.py:494, utils/watchdog.py);
# no environment variable sets it (arg_groups/fields/device.py:66).
PRESET = Preset(
    programs=("sglang",),
    launchers=(
        ("sglang", "serve"),
        ("-m", "sglang.launch_server"),
        ("-m", "sglang.bench_offline_throughput"),
    ),
    environment={
        "SGLANG_ENABLE_HEALTH_ENDPOINT_GENERATION": "0"
    },  # else a probe kills it (http_server.py:745)
    limit=Limit(300, flag="--watchdog-timeout"),
    kv_pool=KV_POOL,
    server=Server(  # with --enable-metrics (observability/metrics_collector.py)
        launchers=(("sglang", "serve"), ("-m", "sglang.launch_server")),
        port=30000,
        tokens="sglang:generation_tokens_total",
        input_tokens="sglang:prompt_tokens_total",
    ),
)


class SglangAdapter:
    """Implements adapter.Adapter."""

    name = "sglang"
    owner = "sglang"  # entrypoints/openai/protocol.py:93
    health_path = "/ready"  # /health generates a token (entrypoints/http_server.py:714, 721)
    keepalive_s = 5.0  # environ.py:337
    reuses_after_stream = True
    ask_again_s = 0.1
    guard_s = (
        4.0  # it looks for a gone client so often (environ.py:1679; a stream's: tokenizer_manager.py:2430)
    )
    preset = PRESET

    def is_inference(self, method: str, path: str, *, upgrade: bool) -> bool:
        return computes(method, path, upgrade, IDLE_ROUTES, IDLE_ENDINGS)

    def counter(self, path: str) -> TokenCounter:  # noqa: ARG002 - one counter reads every dialect
        return ResponseCounter()

    async def load(self, client: httpx.AsyncClient) -> Load | None:
        response = await client.get("/v1/loads", params={"include": "core"})
        if response.status_code == 200 and (load := from_loads(response.content)):
            return load
        response = await client.get("/metrics")
        return from_metrics(response.content) if response.status_code == 200 else None

    async def capacity(self, client: httpx.AsyncClient) -> int:  # noqa: ARG002 - it does not tell
        return 0

    async def kv(self, client: httpx.AsyncClient) -> Kv | None:
        response = await client.get("/metrics")
        return kv_from_metrics(response.content) if response.status_code == 200 else None


def from_loads(body: bytes) -> Load | None:
    """From /v1/loads (entrypoints/v1_loads.py:96), over all ranks; None if it tells nothing."""
    try:
        loads = orjson.loads(body)["loads"]
        return _sum(loads) if loads else None
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError):
        return None


def _sum(loads: list[dict[str, Any]]) -> Load:
    return Load(
        running=sum(int(load["num_running_reqs"]) for load in loads),
        waiting=sum(int(load["num_waiting_reqs"]) for load in loads),
        kv_usage=max(float(load["token_usage"]) for load in loads),
    )


def from_metrics(text: bytes) -> Load | None:
    """From Prometheus text, which needs --enable-metrics (observability/metrics_collector.py:364)."""
    running = prometheus.total(text, "sglang:num_running_reqs")
    if running is None:
        return None
    waiting = prometheus.total(text, "sglang:num_queue_reqs") or 0
    return Load(running, waiting, prometheus.fraction(text, "sglang:token_usage"))


def kv_from_metrics(text: bytes) -> Kv | None:
    """Free is what is available and what can be evicted (observability/metrics_collector.py)."""
    tokens = prometheus.total(text, "sglang:max_total_num_tokens")
    available = prometheus.total(text, "sglang:kv_available_tokens")
    if not tokens or available is None:
        usage = prometheus.fraction(text, "sglang:token_usage")
        return None if usage is None else Kv.of(1.0 - usage, tokens or 0)
    free = available + (prometheus.total(text, "sglang:kv_evictable_tokens") or 0)
    return Kv.of(free / tokens, tokens)
