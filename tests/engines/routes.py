"""Owns what the tests ask of every engine: one small request per inference route and engine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

SAY = "Count from one to twenty: one, two, three,"
USAGE = {"stream_options": {"include_usage": True}}
MESSAGES = {"messages": [{"role": "user", "content": SAY}]}


@dataclass(frozen=True)
class Route:
    """`body` is without `stream`; `streaming` is added to it when a stream is asked for."""

    path: str
    body: dict[str, Any]
    streaming: dict[str, Any]

    def ask(self, *, stream: bool, tokens: int = 12) -> dict[str, Any]:
        """The JSON to send for `tokens` output tokens."""
        body = filled(self.body, tokens)
        return {**body, **self.streaming} if stream else body


def filled(body: Any, tokens: int) -> Any:
    """`body` with every ... replaced by the number of tokens."""
    if isinstance(body, dict):
        return {key: filled(value, tokens) for key, value in body.items()}
    return tokens if body is ... else body


def openai(path: str, limit: str, **body: Any) -> Route:
    content = {"model": "default", "temperature": 0, limit: ..., **body}
    usage = USAGE if path in ("/v1/chat/completions", "/v1/completions") else {}
    return Route(path, content, {"stream": True, **usage})


OPENAI = {
    "chat": openai("/v1/chat/completions", "max_tokens", ignore_eos=True, **MESSAGES),
    "completions": openai("/v1/completions", "max_tokens", ignore_eos=True, prompt=SAY),
    "responses": openai("/v1/responses", "max_output_tokens", input=SAY),
    "messages": openai("/v1/messages", "max_tokens", **MESSAGES),
}
SAMPLING = {"temperature": 0, "ignore_eos": True}
NATIVE = {
    "vllm": Route(
        "/inference/v1/generate",
        {"token_ids": list(range(100, 116)), "sampling_params": {**SAMPLING, "max_tokens": ...}},
        {"stream": True},
    ),
    "sglang": Route(
        "/generate", {"text": SAY, "sampling_params": {**SAMPLING, "max_new_tokens": ...}}, {"stream": True}
    ),
    "llamacpp": Route(
        "/completion",
        {"prompt": SAY, "n_predict": ..., "temperature": 0, "ignore_eos": True},
        {"stream": True},
    ),
}
EMBEDDINGS = Route("/v1/embeddings", {"model": "default", "input": SAY}, {})


def of(engine: str) -> dict[str, Route]:
    """Every inference route by a short name."""
    return {**OPENAI, "generate": NATIVE[engine], "embeddings": EMBEDDINGS}
