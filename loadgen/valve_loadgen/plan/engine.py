"""Owns the figures that describe one engine: how long an iteration takes, how many requests run together."""

from dataclasses import dataclass, fields, replace

from valve_loadgen.errors import BenchError

COOLDOWN_FLOOR_S, COOLDOWN_CEILING_S = 0.05, 0.2  # the sidecar's own bounds
PACK_SLOWDOWN = 1.5
PACK_LIMIT_UNKNOWN = 32


@dataclass(frozen=True)
class Engine:
    """An iteration takes step_ms + sequence_us a running request + prompt tokens / prefill_tokens_per_s."""

    step_ms: float = 8.0
    sequence_us: float = 80.0
    prefill_tokens_per_s: float = 30_000.0
    batch: int = 256
    """Requests that run together; later ones wait."""
    chunk: int = 8192
    """Prompt tokens taken in by one iteration at most."""
    kv_pages: int = 20_480
    """KV memory that online and offline engine share, in pages of 2 MiB: 40 GiB."""
    page_tokens: int = 16
    """Tokens whose KV fits a page: 128 KiB each for 8 billion parameters with grouped-query attention."""
    source: str = "given"

    def iteration_s(self, running: int) -> float:
        return self.step_ms / 1e3 + self.sequence_us / 1e6 * running

    @property
    def cooldown_s(self) -> float:
        """The sidecar's rule: twice an iteration, of a full batch, between its floor and ceiling."""
        return round(min(max(2 * self.iteration_s(self.batch), COOLDOWN_FLOOR_S), COOLDOWN_CEILING_S), 3)

    @property
    def pack_limit(self) -> int:
        """Requests in flight up to which an iteration takes no more than PACK_SLOWDOWN times a lone one."""
        if not self.sequence_us:
            return min(self.batch, PACK_LIMIT_UNKNOWN)
        grown_us = (PACK_SLOWDOWN - 1) * self.iteration_s(1) * 1e6
        return min(self.batch, 1 + int(grown_us / self.sequence_us))

    def capacity_rps(self, input_tokens: float, output_tokens: float) -> float:
        """Requests per second of that mean length that one replica sustains with its batch always full."""
        decode_s = output_tokens * self.iteration_s(self.batch) / self.batch
        return 1.0 / (input_tokens / self.prefill_tokens_per_s + decode_s)

    def __str__(self) -> str:
        return (
            f"{self.step_ms:g} ms + {self.sequence_us:g} us per request in an iteration, "
            f"{self.prefill_tokens_per_s:g} prompt tokens/s, batch {self.batch} ({self.source})"
        )


PRESETS = {
    "8b": Engine(source="preset 8b: a model of 8 billion parameters on one data-centre GPU"),
}


def parse(text: str) -> Engine:
    """A preset's name, or KEY=VALUE,... over the default: `step_ms=12,batch=64`. Raises BenchError."""
    if text in PRESETS:
        return PRESETS[text]
    kinds = {
        "step_ms": float,
        "sequence_us": float,
        "prefill_tokens_per_s": float,
        "batch": int,
        "chunk": int,
        "kv_pages": int,
        "page_tokens": int,
    }
    assert set(kinds) == {each.name for each in fields(Engine)} - {"source"}
    values: dict[str, float] = {}
    for part in text.split(","):
        key, _, value = part.partition("=")
        try:
            values[key] = kinds[key](value)
        except (KeyError, ValueError):
            raise BenchError(
                f"engine figures: {part!r} is not one of {', '.join(PRESETS)} or KEY=NUMBER with KEY one of "
                f"{', '.join(kinds)}"
            ) from None
        if values[key] < 0 or (values[key] == 0 and key != "sequence_us"):
            raise BenchError(f"engine figures: {part!r} is not above 0")
    return replace(Engine(), **values)  # type: ignore[arg-type]  # numbers of the kinds above
