"""llama.cpp's server: its own routes, and its load from /metrics, or from /slots where that is off."""

from __future__ import annotations

import re

import httpx
import orjson

from .adapter import Load, TokenCounter
from .openai import READING
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
GAUGE = re.compile(
    rb"^llamacpp:requests_(processing|deferred) ([0-9]{1,9}(?:\.[0-9]{1,9})?(?:e\+0[0-9])?)$", re.MULTILINE
)


class LlamaCppAdapter:
    """Implements adapter.Adapter."""

    name = "llamacpp"
    health_path = "/health"
    keepalive_s = 5.0  # cpp-httplib's
    reuses_after_stream = False  # it closes right then, without saying so

    def is_inference(self, method: str, path: str, *, upgrade: bool) -> bool:
        if upgrade:
            return True
        if method in READING:
            return False
        route = path.rstrip("/")
        return not (route in IDLE_ROUTES or route.endswith("/count_tokens") or SLOT.fullmatch(route))

    def counter(self, path: str) -> TokenCounter:  # noqa: ARG002 - one counter reads every dialect
        return ResponseCounter()

    async def load(self, client: httpx.AsyncClient) -> Load | None:
        response = await client.get("/metrics")
        if response.status_code == 200 and (load := from_metrics(response.content)):
            return load
        response = await client.get("/slots")
        return from_slots(response.content) if response.status_code == 200 else None


def from_metrics(text: bytes) -> Load | None:
    """From Prometheus text; None if the gauges are not there."""
    gauges = {name: int(float(value)) for name, value in GAUGE.findall(text)}
    if b"processing" not in gauges:
        return None
    return Load(running=gauges[b"processing"], waiting=gauges.get(b"deferred", 0))


def from_slots(body: bytes) -> Load | None:
    """From the slots' JSON, which does not tell what waits for one; None if it is something else."""
    try:
        slots = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(slots, list) or not all(isinstance(slot, dict) for slot in slots):
        return None
    return Load(running=sum(bool(slot.get("is_processing")) for slot in slots), waiting=0)
