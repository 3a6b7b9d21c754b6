"""Owns the workload of `valve bench run`: arrivals, lengths, conversations and cancels, as plans (pure)."""

import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from valve_loadgen import traces
from valve_loadgen.arrivals import Planned, Turn
from valve_loadgen.patterns import Pattern
from valve_loadgen.prompts import Vocabulary
from valve_loadgen.traces import Arrival


@dataclass(frozen=True)
class Span:
    """Token counts drawn evenly from `low` to `high`."""

    low: int
    high: int

    def draw(self, draw: random.Random) -> int:
        return draw.randint(self.low, self.high)

    def __str__(self) -> str:
        return f"{self.low}" if self.low == self.high else f"{self.low}..{self.high}"


@dataclass(frozen=True)
class Workload:
    """The same value gives the same requests. A `trace` brings its own lengths, capped by the spans."""

    duration_s: float = 30.0
    pattern: Pattern = field(default_factory=Pattern)
    trace: str | None = None
    keep: float = 1.0
    stretch: float = 1.0
    input_tokens: Span = Span(128, 128)
    output_tokens: Span = Span(64, 64)
    turns: int = 1
    think_s: float = 1.0
    cancel_fraction: float = 0.0
    cancel_after_ms: float = 500.0
    seed: int = 1

    def plan(self, vocabulary: Vocabulary) -> list[Planned]:
        """The requests in order of time. Raises BenchError for a trace that cannot be read."""
        draw = random.Random(f"{self.seed}/cancel").random
        return [
            self._planned(i, arrival, vocabulary, draw() < self.cancel_fraction)
            for i, arrival in enumerate(self.arrivals())
        ]

    def arrivals(self) -> list[Arrival]:
        """When requests come, and their lengths. Raises BenchError."""
        return self._replayed() if self.trace else list(self._generated())

    def peak_rate(self) -> float:
        """Arrivals in the fullest second."""
        return float(max(Counter(int(arrival.at_s) for arrival in self.arrivals()).values(), default=0))

    def _generated(self) -> Iterator[Arrival]:
        draw = random.Random(self.seed)
        for at_s in self.pattern.times(self.duration_s, draw):
            yield Arrival(at_s, self.input_tokens.draw(draw), self.output_tokens.draw(draw))

    def _replayed(self) -> list[Arrival]:
        assert self.trace
        path = Path(self.trace)
        loaded = traces.packaged(self.trace) if self.trace in ("conv", "code") else traces.load(path)
        kept = traces.thin(traces.stretch(loaded, self.stretch), self.keep, self.seed)
        return [self._capped(arrival) for arrival in traces.window(kept, 0.0, self.duration_s)]

    def _capped(self, arrival: Arrival) -> Arrival:
        inputs = min(arrival.input_tokens, self.input_tokens.high)
        outputs = max(1, min(arrival.output_tokens, self.output_tokens.high))
        return replace(arrival, input_tokens=inputs, output_tokens=outputs)

    def _planned(self, index: int, arrival: Arrival, vocabulary: Vocabulary, cancelled: bool) -> Planned:
        name = f"r{index}"
        text = vocabulary.text(f"{self.seed}/{arrival.session or name}", arrival.input_tokens)
        cancel_after_ns = round(self.cancel_after_ms * 1e6) if cancelled else None
        turns = tuple(self._turn(f"{name}.{turn}", arrival, vocabulary) for turn in range(1, self.turns))
        at_ns = round(arrival.at_s * 1e9)
        return Planned(name, at_ns, text, arrival.output_tokens, cancel_after_ns, turns=turns)

    def _turn(self, name: str, arrival: Arrival, vocabulary: Vocabulary) -> Turn:
        text = vocabulary.text(f"{self.seed}/{name}", arrival.input_tokens)
        return Turn(name, text, arrival.output_tokens, round(self.think_s * 1e9))

    def __str__(self) -> str:
        parts = [self._source(), f"{self.duration_s:g} s", f"seed {self.seed}"]
        if self.turns > 1:
            parts.append(f"conversations of {self.turns} turns, {self.think_s:g} s between")
        if self.cancel_fraction:
            parts.append(f"{self.cancel_fraction:.0%} cancelled after {self.cancel_after_ms:g} ms")
        return "; ".join(parts)

    def _source(self) -> str:
        if self.trace:
            caps = f"at most {self.input_tokens.high} tokens in, {self.output_tokens.high} out"
            return f"trace {self.trace}, {self.keep:.0%} kept, time x{self.stretch:g}, {caps}"
        return f"{self.pattern}, {self.input_tokens} tokens in, {self.output_tokens} out"
