"""Owns the body of a completion request, so that every arm asks for exactly the same work."""

from dataclasses import dataclass
from typing import Any

from valve_loadgen.arrivals import Planned
from valve_loadgen.client import Client

PATH = "/v1/completions"
CHAT_PATH = "/v1/chat/completions"


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


@dataclass(frozen=True)
class Ask:
    """How any OpenAI-compatible endpoint is asked: which endpoint, model and length control."""

    model: str = "default"
    chat: bool = True
    fixed_length: bool = True
    """Send ignore_eos and min_tokens, which engines take and OpenAI itself refuses."""

    @property
    def path(self) -> str:
        return CHAT_PATH if self.chat else PATH

    def request(self, client: Client, plan: Planned, request_id: str) -> bytes:
        """The bytes of `plan`'s request."""
        return client.request("POST", self.path, self.body(plan), request_id)

    def body(self, plan: Planned) -> dict[str, Any]:
        """Greedy and streamed, with usage; the turns before in `plan.history` go along."""
        length = {"ignore_eos": True, "min_tokens": plan.output_tokens} if self.fixed_length else {}
        return {
            "model": self.model,
            **self._prompt(plan),
            "max_tokens": plan.output_tokens,
            "temperature": 0,
            **length,
            "stream": True,
            "stream_options": {"include_usage": True},
        }

    def _prompt(self, plan: Planned) -> dict[str, Any]:
        turns = [*plan.history, plan.prompt]
        if not self.chat:
            return {"prompt": " ".join(turns)}
        roles = ("user", "assistant")
        return {"messages": [{"role": roles[i % 2], "content": text} for i, text in enumerate(turns)]}
