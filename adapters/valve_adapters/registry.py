"""Finds the adapter for an engine: by the name a person gave, by asking it, or by its command line."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import httpx
import orjson

from . import preset
from .adapter import Adapter
from .llamacpp import LlamaCppAdapter
from .openai import OpenAIAdapter
from .sglang import SglangAdapter
from .tensorrt_llm import TensorRTLLMAdapter
from .vllm import VllmAdapter

KNOWN: tuple[type[Adapter], ...] = (
    LlamaCppAdapter,
    OpenAIAdapter,
    SglangAdapter,
    TensorRTLLMAdapter,
    VllmAdapter,
)
ADAPTERS: dict[str, type[Adapter]] = {adapter.name: adapter for adapter in KNOWN}


class UnknownEngineError(Exception):
    """No adapter has this name."""


def by_name(name: str) -> Adapter:
    """Raises UnknownEngineError."""
    if name not in ADAPTERS:
        raise UnknownEngineError(f"unknown engine {name!r}; choose one of {', '.join(sorted(ADAPTERS))}")
    return ADAPTERS[name]()


async def detect(client: httpx.AsyncClient) -> Adapter:
    """Asks whose models it serves. That question costs no engine anything, unlike SGLang's /health, which
    generates, and TensorRT-LLM's /metrics, which can be read once.

    Raises httpx.HTTPError if the engine cannot be reached or is not up yet.
    """
    response = await client.get("/v1/models")
    if response.is_server_error:
        response.raise_for_status()
    owners = _owners(response.content)
    return next((adapter() for adapter in KNOWN if adapter.owner in owners), OpenAIAdapter())


def guess(argv: Sequence[str]) -> Adapter:
    """From the command line that starts an offline engine; the generic adapter where that tells nothing."""
    started = (
        adapter
        for program in preset.programs(argv)
        for adapter in KNOWN
        if program in adapter.preset.programs
    )
    return next(started, OpenAIAdapter)()


def _owners(body: bytes) -> set[Any]:
    """`owned_by` of every model in the list."""
    try:
        models = orjson.loads(body)["data"]
        return {model["owned_by"] for model in models if model["owned_by"]}
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return set()
