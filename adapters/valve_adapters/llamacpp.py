"""llama.cpp's server: its own routes, and its load from /metrics, or from /slots where that is off."""

from __future__ import annotations

import re

import httpx
import orjson

from . import prometheus
from .adapter import Kv, Load, TokenCounter
from .preset import Preset, Server
from .routes import computes
from .tokens import ResponseCounter

IDLE_ROUTES = frozenset(
    {
        "/api/show",
        "/apply-template",
        "/detokenize",
        "/lora-adapters",
        "/models/load",
        "/models/unload",
        "/props",
        "/slots",
        "/tokenize",
    }
)
SLOT = re.compile(r"/slots/[0-9]+")  # ?action=save, restore or erase: memory, no computing
IDLE_ENDINGS = ("/count_tokens",)

# It has no limit on a step.
PRESET = Preset(
    programs=(
        "llama-server",
        "llama-cli",
        "llama-completion",
        "llama-batched",
        "llama-batched-bench",
        "llamafile",
    ),
    server=Server(  # with --metrics
        launchers=(("llama-server",),),
        port=8080,
        tokens="llamacpp:tokens_predicted_total",
        input_tokens="llamacpp:prompt_tokens_total",
    ),
)


class LlamaCppAdapter:
    """Implements adapter.Adapter."""

    name = "llamacpp"
    owner = "llamacpp"
    health_path = "/health"
    keepalive_s = 5.0  # cpp-httplib's
    reuses_after_stream = False  # it closes right then, without saying so
    # A request that is not streamed looks for its gone client after a second in which no other task answered.
    # Reading the load is such a task: asked more often, it would run to its last token for nobody.
    ask_again_s = 1.5
    guard_s = 0.2  # it looks for a gone client at every token
    preset = PRESET

    def is_inference(self, method: str, path: str, *, upgrade: bool) -> bool:
        inference = computes(method, path, upgrade, IDLE_ROUTES, IDLE_ENDINGS)
        return inference and (upgrade or not SLOT.fullmatch(path.rstrip("/")))

    def counter(self, path: str) -> TokenCounter:  # noqa: ARG002 - one counter reads every dialect
        return ResponseCounter()

    async def load(self, client: httpx.AsyncClient) -> Load | None:
        response = await client.get("/metrics")
        if response.status_code == 200 and (load := from_metrics(response.content)):
            return load
        response = await client.get("/slots")
        return from_slots(response.content) if response.status_code == 200 else None

    async def capacity(self, client: httpx.AsyncClient) -> int:
        response = await client.get("/props")
        return slots_of(response.content) if response.status_code == 200 else 0

    async def kv(self, client: httpx.AsyncClient) -> Kv | None:  # noqa: ARG002
        return None


def slots_of(body: bytes) -> int:
    """From the server's properties; 0 if they do not tell."""
    try:
        total = orjson.loads(body)["total_slots"]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return 0
    return total if isinstance(total, int) else 0


def from_metrics(text: bytes) -> Load | None:
    """From Prometheus text; None if the gauges are not there."""
    running = prometheus.total(text, "llamacpp:requests_processing")
    if running is None:
        return None
    return Load(running, prometheus.total(text, "llamacpp:requests_deferred") or 0)


def from_slots(body: bytes) -> Load | None:
    """From the slots' JSON, which does not tell what waits for one; None if it is something else."""
    try:
        slots = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(slots, list) or not all(isinstance(slot, dict) for slot in slots):
        return None
    return Load(running=sum(bool(slot.get("is_processing")) for slot in slots), waiting=0)
