"""What the sidecar asks of an engine: which requests are inference, what runs, what a stream's bytes mean."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import httpx

from .preset import Preset


@dataclass(frozen=True, slots=True)
class Load:
    """An engine's own view of its work."""

    running: int
    waiting: int
    kv_usage: float | None = None  # 0..1, where the engine tells

    @property
    def idle(self) -> bool:
        return self.running == 0 and self.waiting == 0


@dataclass(frozen=True, slots=True)
class Kv:
    """An engine's KV cache, by its own gauges."""

    free: float  # 0..1 of its blocks: neither used nor withheld; what is only kept for reuse counts as free
    tokens: int  # that all its blocks together hold; 0: it does not tell

    @classmethod
    def of(cls, free: float, tokens: int) -> Kv:
        return cls(min(max(free, 0.0), 1.0), tokens)


class TokenCounter(Protocol):
    """Follows the bytes of one response body. Never raises, whatever the bytes."""

    def feed(self, data: bytes) -> int:
        """Tokens (non-empty content, reasoning, tool deltas) that `data` completes, never a role."""
        ...

    @property
    def tokens(self) -> int:
        """Tokens so far: the engine's own figure where the stream carried one; else deltas seen, which may
        hold more than one token each.
        """
        ...


class Adapter(Protocol):
    """One engine. Stateless; one instance serves every request."""

    name: str
    owner: str  # `owned_by` of its models in /v1/models, by which it is recognised; "" = it is not
    health_path: str  # a GET that costs the engine nothing and fails while it cannot serve
    keepalive_s: float  # an upstream connection idle for longer may be closed by the engine: do not reuse it
    reuses_after_stream: bool  # whether a connection lives on after a streamed response
    guard_s: float  # after a client has gone: how long it may run on, where `load` does not tell
    ask_again_s: float  # between two calls of `load` while it is busy
    preset: Preset  # for running it as a tenant

    def is_inference(self, method: str, path: str, *, upgrade: bool) -> bool:
        """Whether the engine will compute. Unknown POSTs and upgrades: yes; GET, HEAD, OPTIONS: never."""
        ...

    def counter(self, path: str) -> TokenCounter: ...

    async def load(self, client: httpx.AsyncClient) -> Load | None:
        """The engine's load now; None if it does not tell. `client` has the engine as its base URL.

        Raises httpx.HTTPError if the engine cannot be reached.
        """
        ...

    async def capacity(self, client: httpx.AsyncClient) -> int:
        """How many requests it runs together, so that a next one waits; 0 if it does not tell.

        Raises httpx.HTTPError if the engine cannot be reached.
        """
        ...

    async def kv(self, client: httpx.AsyncClient) -> Kv | None:
        """Its KV cache now; None if it does not tell. Asked about once a second where memory is shared.

        Raises httpx.HTTPError if the engine cannot be reached.
        """
        ...
