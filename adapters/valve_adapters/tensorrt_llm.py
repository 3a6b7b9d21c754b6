"""TensorRT-LLM: the routes of trtllm-serve. Facts: its sources, tensorrt_llm/serve/openai_server.py at
00057725; it cannot run without a GPU, so this is tested on an emulation of its HTTP surface.
"""

from __future__ import annotations

import httpx

from . import prometheus
from .adapter import Kv, Load, TokenCounter
from .preset import Limit, Preset
from .routes import computes
from .tokens import ResponseCounter

IDLE_ROUTES = frozenset(
    {
        "/kv_cache_events",
        "/release_memory",
        "/resume_memory",
        "/start_profile",
        "/steady_clock_offset",
        "/stop_profile",
        "/update_weights",
        "/v1/kv_cache_hints",
    }
)
IDLE_ENDINGS = ("/cancel", "/count_tokens", "/derender", "/render")

# The limit is that of its hang detector (_torch/pyexecutor/hang_detector.py): no flag, variable or key of its
# configuration sets it.
PRESET = Preset(
    programs=("trtllm-serve", "trtllm-bench", "trtllm-eval", "tensorrt_llm"),
    environment={"TRTLLM_NO_USAGE_STATS": "1"},
    limit=Limit(300),
)


class TensorRTLLMAdapter:
    """Implements adapter.Adapter."""

    name = "tensorrt-llm"
    owner = "tensorrt_llm"  # serve/openai_protocol.py, ModelCard
    health_path = "/health"  # whether its processes live; /health_generate generates
    keepalive_s = 5.0  # TIMEOUT_KEEP_ALIVE
    reuses_after_stream = True
    ask_again_s = 0.1
    guard_s = 1.5  # it looks for a gone client every second (await_disconnected), and ends the running step
    preset = PRESET

    def is_inference(self, method: str, path: str, *, upgrade: bool) -> bool:
        return computes(method, path, upgrade, IDLE_ROUTES, IDLE_ENDINGS)

    def counter(self, path: str) -> TokenCounter:  # noqa: ARG002 - one counter reads every dialect
        return ResponseCounter()

    async def load(self, client: httpx.AsyncClient) -> Load | None:  # noqa: ARG002
        """Always None. /metrics is a queue that reading empties, so another reader would miss what we took;
        the gauges of /prometheus/metrics move only when a request completes, and after an abort not at all.
        """
        return None

    async def capacity(self, client: httpx.AsyncClient) -> int:  # noqa: ARG002 - it does not tell
        return 0

    async def kv(self, client: httpx.AsyncClient) -> Kv | None:
        """Moves when a request completes only, and is there with --return_perf_metrics only."""
        response = await client.get("/prometheus/metrics")
        return kv_from_metrics(response.content) if response.status_code == 200 else None


def kv_from_metrics(text: bytes) -> Kv | None:
    """From the text of /prometheus/metrics; None if the gauges are not there."""
    blocks = prometheus.total(text, "trtllm_kv_cache_max_blocks")
    free = prometheus.total(text, "trtllm_kv_cache_free_blocks")
    if not blocks or free is None:
        return None
    return Kv.of(free / blocks, blocks * (prometheus.total(text, "trtllm_kv_cache_tokens_per_block") or 0))
