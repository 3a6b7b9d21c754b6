"""Finds the adapter for an engine: by the name a person gave, or by asking the engine."""

from __future__ import annotations

import httpx
import orjson

from .adapter import Adapter
from .llamacpp import LlamaCppAdapter
from .openai import OpenAIAdapter

ADAPTERS: dict[str, type[Adapter]] = {"openai": OpenAIAdapter, "llamacpp": LlamaCppAdapter}


class UnknownEngineError(Exception):
    """No adapter has this name."""


def by_name(name: str) -> Adapter:
    """Raises UnknownEngineError."""
    if name not in ADAPTERS:
        raise UnknownEngineError(f"unknown engine {name!r}; choose one of {', '.join(sorted(ADAPTERS))}")
    return ADAPTERS[name]()


async def detect(client: httpx.AsyncClient) -> Adapter:
    """Asks /props, which llama.cpp alone has and which costs no engine anything (SGLang's /health generates).

    Raises httpx.HTTPError if the engine cannot be reached.
    """
    response = await client.get("/props")
    if response.headers.get("Server") == "llama.cpp" or _is_llamacpp(response):
        return LlamaCppAdapter()
    if response.is_server_error:  # something in front of an engine that is not up yet
        response.raise_for_status()
    return OpenAIAdapter()


def _is_llamacpp(response: httpx.Response) -> bool:
    """Behind something that rewrote the Server header."""
    try:
        props = orjson.loads(response.content)
    except orjson.JSONDecodeError:
        return False
    return isinstance(props, dict) and "default_generation_settings" in props
