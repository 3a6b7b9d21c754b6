"""Owns what an event of a completion stream means: which carry tokens, which only bookkeeping."""

from dataclasses import dataclass
from typing import Any

import orjson

TEXT_FIELDS = ("content", "reasoning_content", "reasoning", "tool_calls", "function_call", "text")


@dataclass(frozen=True)
class Chunk:
    """One event: whether it carries generated text, and the counts the engine put beside it."""

    has_token: bool = False
    usage_tokens: int | None = None
    generated: int | None = None
    """Tokens so far by the engine's own count (llama.cpp with timings_per_token)."""
    error: str | None = None


def read_chunk(payload: bytes) -> Chunk:
    """Reads one data payload of the OpenAI stream. What is not JSON carries an error, not a token.

    A first chunk with only a role, a finish reason or usage carries no token.
    """
    if payload == b"[DONE]":
        return Chunk()
    try:
        body = orjson.loads(payload)
    except orjson.JSONDecodeError:
        return Chunk(error=f"not JSON: {payload[:80]!r}")
    if not isinstance(body, dict):
        return Chunk(error=f"not an object: {payload[:80]!r}")
    return _read_object(body)


def _read_object(body: dict[str, Any]) -> Chunk:
    error = body.get("error")
    return Chunk(
        has_token=any(_has_text(choice) for choice in body.get("choices") or []),
        usage_tokens=(body.get("usage") or {}).get("completion_tokens"),
        generated=(body.get("timings") or {}).get("predicted_n"),
        error=str(error) if error else None,
    )


def _has_text(choice: dict[str, Any]) -> bool:
    delta = choice.get("delta") or choice
    return any(delta.get(name) for name in TEXT_FIELDS)
