"""Owns service level objectives and goodput: the requests that met all of them, per second (pure)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from valve_loadgen.errors import BenchError
from valve_loadgen.exchange import Exchange

NAMES = ("ttft_ms", "tpot_ms", "latency_ms")


@dataclass(frozen=True)
class Slo:
    """Upper bounds in ms; a request without the figure (a single token has no TPOT) meets its bound."""

    bounds: tuple[tuple[str, float], ...]

    @classmethod
    def parse(cls, text: str) -> "Slo":
        """'ttft_ms=500,tpot_ms=50'. Raises BenchError."""
        pairs = [part.partition("=") for part in text.split(",")]
        try:
            bounds = tuple((name.strip(), float(value)) for name, _, value in pairs)
        except ValueError:
            bounds = ()
        if not bounds or any(name not in NAMES or bound <= 0 for name, bound in bounds):
            raise BenchError(
                f"{text!r} is no SLO; use for example ttft_ms=500,tpot_ms=50 ({', '.join(NAMES)})"
            )
        return cls(bounds)

    def met(self, exchange: Exchange) -> bool:
        """A failed request meets nothing."""
        values = ((getattr(exchange, name), bound) for name, bound in self.bounds)
        return exchange.ok and all(value is None or value <= bound for value, bound in values)

    def goodput(self, exchanges: Sequence[Exchange], wall_s: float) -> dict[str, Any]:
        """{"slo", "requests_per_s", "fraction"}; what the client cancelled counts in neither."""
        counted = [each for each in exchanges if not each.cancelled]
        met = sum(map(self.met, counted))
        return {
            "slo": dict(self.bounds),
            "requests_per_s": met / wall_s if wall_s else None,
            "fraction": met / len(counted) if counted else None,
        }
