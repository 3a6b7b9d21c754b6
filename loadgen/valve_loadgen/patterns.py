"""Owns synthetic arrival patterns: when requests come, as seconds from 0 in order (pure)."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random
from typing import Literal, get_args

Kind = Literal["constant", "poisson", "gamma", "onoff", "ramp"]
KINDS: tuple[Kind, ...] = get_args(Kind)


@dataclass(frozen=True)
class Pattern:
    """A kind of arrivals and its figures; each kind reads only its own."""

    kind: Kind = "poisson"
    rate: float = 1.0
    burstiness: float = 0.25
    on_s: float = 5.0
    off_s: float = 15.0
    to_rate: float = 1.0

    def times(self, span_s: float, random: Random) -> list[float]:
        """Seconds from 0 to `span_s`, in order."""
        match self.kind:
            case "constant":
                return constant(self.rate, span_s)
            case "poisson":
                return poisson(self.rate, span_s, random)
            case "gamma":
                return gamma(self.rate, span_s, self.burstiness, random)
            case "onoff":
                return on_off(self.rate, span_s, self.on_s, self.off_s, random)
            case "ramp":
                return ramp(self.rate, self.to_rate, span_s, random)

    def __str__(self) -> str:
        told = {
            "gamma": f", burstiness {self.burstiness:g}",
            "onoff": f" for {self.on_s:g} s, then {self.off_s:g} s nothing",
            "ramp": f" to {self.to_rate:g}",
        }
        return f"{self.kind} arrivals, {self.rate:g} requests/s{told.get(self.kind, '')}"


def constant(rate: float, span_s: float) -> list[float]:
    """Exactly 1 / `rate` apart."""
    return [number / rate for number in range(round(rate * span_s))]


def poisson(rate: float, span_s: float, random: Random) -> list[float]:
    return list(_renewal(lambda: random.expovariate(rate), span_s))


def gamma(rate: float, span_s: float, burstiness: float, random: Random) -> list[float]:
    """Gaps of a gamma distribution whose CV is 1 / sqrt(`burstiness`), as in vLLM's benchmark.

    1 is Poisson, less is burstier, more is steadier.
    """
    return list(_renewal(lambda: random.gammavariate(burstiness, 1 / (rate * burstiness)), span_s))


def on_off(rate: float, span_s: float, on_s: float, off_s: float, random: Random) -> list[float]:
    """Poisson of `rate` for `on_s`, nothing for `off_s`, and so on."""
    period_s = on_s + off_s
    busy = poisson(rate, span_s * on_s / period_s, random)
    return [at_s for at_s in (at // on_s * period_s + at % on_s for at in busy) if at_s < span_s]


def ramp(rate: float, to_rate: float, span_s: float, random: Random) -> list[float]:
    """Poisson whose rate goes in a line from `rate` to `to_rate`."""
    peak = max(rate, to_rate)
    times = poisson(peak, span_s, random)
    return [at for at in times if random.random() * peak < rate + (to_rate - rate) * at / span_s]


def _renewal(gap_s: Callable[[], float], span_s: float) -> Iterator[float]:
    now_s = gap_s()
    while now_s < span_s:
        yield now_s
        now_s += gap_s()
