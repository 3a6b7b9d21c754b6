"""Owns the body of a completion request, so that every arm asks for exactly the same work."""

from typing import Any

PATH = "/v1/completions"


def completion(prompt: str, output_tokens: int) -> dict[str, Any]:
    """A streamed completion of exactly `output_tokens` tokens.

    Greedy and without an early end, so that arms compare like with like; llama.cpp's prompt cache off,
    because a repeated prompt would cost it nothing.
    """
    return {
        "model": "default",
        "prompt": prompt,
        "max_tokens": output_tokens,
        "temperature": 0,
        "ignore_eos": True,
        "cache_prompt": False,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
