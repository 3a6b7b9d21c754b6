"""Owns what an event of a completion stream means: which carry tokens, which only bookkeeping."""

from collections.abc import Iterable
from typing import Any, NamedTuple

import orjson

TEXT_FIELDS = ("content", "reasoning_content", "reasoning", "tool_calls", "function_call", "text")


class Chunk(NamedTuple):
    """One event: whether it carries generated text, and the counts the engine put beside it."""

    text: str | None = None
    """What was generated; "" for a tool call or the like, None for no token."""
    usage_tokens: int | None = None
    prompt_tokens: int | None = None
    generated: int | None = None
    """Tokens so far by the engine's own count (llama.cpp with timings_per_token)."""
    error: str | None = None

    @property
    def has_token(self) -> bool:
        return self.text is not None


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
    error, usage, timings = body.get("error"), body.get("usage"), body.get("timings")
    return Chunk(
        _text(body.get("choices") or ()),
        usage.get("completion_tokens") if usage else None,
        usage.get("prompt_tokens") if usage else None,
        timings.get("predicted_n") if timings else None,
        str(error) if error else None,
    )


def _text(choices: Iterable[dict[str, Any]]) -> str | None:
    for choice in choices:
        delta = choice.get("delta") or choice
        for name in TEXT_FIELDS:
            value = delta.get(name)
            if value:
                return value if isinstance(value, str) else ""
    return None
