"""Owns the record of one request: its stamps, what came back, and the figures that follow from them."""

import itertools
from dataclasses import dataclass, field

from valve_loadgen.chunks import read_chunk


@dataclass
class Exchange:
    """All stamps in CLOCK_MONOTONIC ns, taken when bytes arrived, before parsing; 0 = did not happen."""

    request_id: str
    name: str
    """Names the planned request: the same in every arm."""
    sched_ns: int
    send_ns: int = 0
    head_ns: int = 0
    done_ns: int = 0
    status: int = 0
    token_ns: list[int] = field(default_factory=list)
    """Arrival of each event that carried generated text."""
    usage_tokens: int | None = None
    error: str | None = None
    """Why there is no whole answer; `done_ns` then says when that was known."""
    prompt_tokens: int | None = None
    text: str = ""
    """What came back; kept only where a next turn needs it (`keeps_text`)."""
    keeps_text: bool = False
    cancelled: bool = False
    """The client ended it on purpose."""

    def read_events(self, events: list[tuple[int, bytes]]) -> None:
        """Fills in the tokens from a stream's (arrival, payload) list, once it has ended."""
        for at_ns, payload in events:
            chunk = read_chunk(payload)
            if chunk.has_token:
                self.token_ns.append(at_ns)
                if self.keeps_text:
                    self.text += chunk.text or ""
            if chunk.usage_tokens:
                self.usage_tokens, self.prompt_tokens = chunk.usage_tokens, chunk.prompt_tokens
            if chunk.error:
                self.error = self.error or chunk.error

    @property
    def ok(self) -> bool:
        return self.error is None and self.status == 200 and self.done_ns > 0

    @property
    def lag_ns(self) -> int:
        """How late the client itself was."""
        return self.send_ns - self.sched_ns

    @property
    def ttft_ms(self) -> float | None:
        """First token since the scheduled time: no coordinated omission."""
        return (self.token_ns[0] - self.sched_ns) / 1e6 if self.token_ns else None

    @property
    def ttft_from_send_ms(self) -> float | None:
        """As other tools count it: the client's own lateness hidden."""
        return (self.token_ns[0] - self.send_ns) / 1e6 if self.token_ns else None

    @property
    def latency_ms(self) -> float | None:
        """Scheduled time -> the response's end."""
        return (self.done_ns - self.sched_ns) / 1e6 if self.done_ns else None

    @property
    def chunk_gaps_ms(self) -> list[float]:
        """Between successive events that carried text."""
        return [(later - earlier) / 1e6 for earlier, later in itertools.pairwise(self.token_ns)]

    @property
    def tokens(self) -> int:
        """By the engine's usage; without it, the events that carried text."""
        return self.usage_tokens if self.usage_tokens is not None else len(self.token_ns)

    @property
    def tpot_ms(self) -> float | None:
        """(last - first) / (tokens - 1): by the count of tokens, since an event may carry several."""
        if self.tokens < 2 or len(self.token_ns) < 2:
            return None
        return (self.token_ns[-1] - self.token_ns[0]) / 1e6 / (self.tokens - 1)
