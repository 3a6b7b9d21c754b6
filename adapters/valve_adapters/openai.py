"""Any OpenAI-compatible engine: what it computes for is judged by its route, and its load is not known."""

from __future__ import annotations

import httpx

from . import sglang, tensorrt_llm, vllm
from .adapter import Kv, Load, TokenCounter
from .preset import Preset
from .routes import computes
from .tokens import ResponseCounter

# Nothing that is idle on one engine is inference on another.
IDLE_ROUTES = vllm.IDLE_ROUTES | sglang.IDLE_ROUTES | tensorrt_llm.IDLE_ROUTES
IDLE_ENDINGS = vllm.IDLE_ENDINGS


class OpenAIAdapter:
    """Implements adapter.Adapter."""

    name = "openai"
    owner = ""
    health_path = "/v1/models"  # not /health: SGLang's generates a token
    keepalive_s = 5.0  # vLLM, SGLang and TensorRT-LLM alike
    reuses_after_stream = False  # some close right then, without saying so
    ask_again_s = 0.1
    guard_s = 4.0  # SGLang's, the longest of those we know
    preset = Preset()

    def is_inference(self, method: str, path: str, *, upgrade: bool) -> bool:
        return computes(method, path, upgrade, IDLE_ROUTES, IDLE_ENDINGS)

    def counter(self, path: str) -> TokenCounter:  # noqa: ARG002 - one counter reads every dialect
        return ResponseCounter()

    async def load(self, client: httpx.AsyncClient) -> Load | None:  # noqa: ARG002
        """Always None: no route for it is common to these engines."""
        return None

    async def capacity(self, client: httpx.AsyncClient) -> int:  # noqa: ARG002 - it does not tell
        return 0

    async def kv(self, client: httpx.AsyncClient) -> Kv | None:  # noqa: ARG002
        return None
