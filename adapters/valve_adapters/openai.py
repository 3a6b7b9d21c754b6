"""Any OpenAI-compatible engine: what it computes for is judged by its route, and its load is not known."""

from __future__ import annotations

import httpx

from .adapter import Load, TokenCounter
from .tokens import ResponseCounter

READING = frozenset({"GET", "HEAD", "OPTIONS", "TRACE", "DELETE"})

# POSTs that make no engine compute: vLLM's, SGLang's and TensorRT-LLM's. Whatever is not here preempts:
# a route that we do not know shall cost offline work a little, rather than online work its latency.
IDLE_ROUTES = frozenset(
    {
        # text in, text out, on the CPU
        "/detokenize",
        "/parse_function_call",
        "/separate_reasoning",
        "/tokenize",
        "/v1/detokenize",
        "/v1/tokenize",
        # probes and sessions
        "/close_session",
        "/open_session",
        "/ping",
        "/v1/loads",
        # administration
        "/abort_request",
        "/abort_requests",
        "/clear_hicache_storage_backend",
        "/collective_rpc",
        "/configure_logging",
        "/continue_generation",
        "/flush_cache",
        "/load_lora_adapter",
        "/pause",
        "/pause_generation",
        "/release_kv_cache_memory",
        "/release_memory",
        "/release_memory_occupation",
        "/reset_mm_cache",
        "/reset_prefix_cache",
        "/resume",
        "/resume_memory",
        "/resume_memory_occupation",
        "/scale_elastic_ep",
        "/set_internal_state",
        "/sleep",
        "/start_profile",
        "/stop_profile",
        "/unload_lora_adapter",
        "/v1/load_lora_adapter",
        "/v1/unload_lora_adapter",
        "/wake_up",
    }
)
IDLE_ENDINGS = ("/cancel", "/count_tokens", "/derender", "/render")


class OpenAIAdapter:
    """Implements adapter.Adapter."""

    name = "openai"
    health_path = "/v1/models"  # not /health: SGLang's generates a token
    keepalive_s = 5.0  # vLLM, SGLang and TensorRT-LLM alike
    reuses_after_stream = True

    def is_inference(self, method: str, path: str, *, upgrade: bool) -> bool:
        if upgrade:
            return True
        if method in READING:
            return False
        route = path.rstrip("/")
        return route not in IDLE_ROUTES and not route.endswith(IDLE_ENDINGS)

    def counter(self, path: str) -> TokenCounter:  # noqa: ARG002 - one counter reads every dialect
        return ResponseCounter()

    async def load(self, client: httpx.AsyncClient) -> Load | None:  # noqa: ARG002
        """Always None: no route for it is common to these engines."""
        return None
