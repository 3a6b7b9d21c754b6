"""Owns the online load of a run: which requests arrive when, cut from a trace round by round."""

import random
from dataclasses import dataclass, field
from pathlib import Path

from valve_loadgen import traces
from valve_loadgen.patterns import Pattern
from valve_loadgen.prompts import prompt
from valve_loadgen.traces import Arrival, Lengths

PATTERN_SPAN_S, PATTERN_INPUTS, PATTERN_OUTPUTS = 3600.0, (256, 2048), (60, 240)


def lengths(output_divisor: float = 10.0) -> Lengths:
    """Of Azure's conversations, for an engine on a CPU core."""
    low, high = round(60 / output_divisor), round(240 / output_divisor)
    return Lengths(32, 8, 64, output_divisor, max(low, 1), max(high, 1))


DEMO_LENGTHS = lengths()


@dataclass(frozen=True)
class Planned:
    """One request to send `at_ns` after its window opens."""

    name: str
    at_ns: int
    prompt: str
    output_tokens: int
    cancel_after_ns: int | None = None
    """The client drops the connection this long after the send."""
    history: tuple[str, ...] = ()
    """The turns before: what the user said, what came back, and so on."""
    turns: "tuple[Turn, ...]" = ()
    """The turns after this one."""


@dataclass(frozen=True)
class Turn:
    """What a user says `think_ns` after the answer before."""

    name: str
    prompt: str
    output_tokens: int
    think_ns: int


@dataclass(frozen=True)
class Load:
    """A trace and everything that is done to it; the same value gives the same requests."""

    trace: str = "conv"
    keep: float = 0.15
    stretch: float = 1.0
    lengths: Lengths = DEMO_LENGTHS
    seed: int = 1
    pattern: Pattern | None = None
    """Instead of a trace."""
    _arrivals: list[Arrival] = field(default_factory=list, repr=False, compare=False)

    def __post_init__(self) -> None:
        self._arrivals.extend(traces.stretch(self._loaded(), self.stretch))

    def _loaded(self) -> list[Arrival]:
        if self.pattern:
            draw = random.Random(self.seed)
            times_s = self.pattern.times(PATTERN_SPAN_S, draw)
            lengths = ((draw.randint(*PATTERN_INPUTS), draw.randint(*PATTERN_OUTPUTS)) for _ in times_s)
            return [Arrival(at_s, *each) for at_s, each in zip(times_s, lengths, strict=True)]
        if self.trace in ("conv", "code"):
            return traces.packaged(self.trace)
        return traces.load(Path(self.trace))

    @property
    def span_s(self) -> float:
        return self._arrivals[-1].at_s if self._arrivals else 0.0

    def round(self, index: int, window_s: float) -> list[Planned]:
        """The requests of round `index`: the trace's next `window_s` seconds, thinned and scaled.

        A run longer than the trace starts it again with another draw of the thinning.
        """
        per_pass = max(1, int(self.span_s // window_s))
        lap, position = divmod(index, per_pass)
        cut = traces.window(self._arrivals, position * window_s, window_s)
        kept = traces.thin(cut, self.keep, seed=f"{self.seed}/{lap}/{position}")
        return [
            self._planned(f"r{index}-{number}", self.lengths.scaled(arrival))
            for number, arrival in enumerate(kept)
        ]

    def _planned(self, name: str, arrival: Arrival) -> Planned:
        text = prompt(f"{self.seed}/{name}", arrival.input_tokens)
        return Planned(name, round(arrival.at_s * 1e9), text, arrival.output_tokens)

    def __str__(self) -> str:
        packaged = self.trace in ("conv", "code")
        source = str(self.pattern or (f"Azure 2023 {self.trace} slice" if packaged else self.trace))
        return (
            f"{source}, thinned to {self.keep:.0%}, time x{self.stretch:g}, {self.lengths}, seed {self.seed}"
        )


def jittered(count: int, gap_ns: int, seed: int) -> list[int]:
    """`count` times in ns from 0, apart by gap_ns x uniform(0.5, 1.5): steady, but in step with nothing."""
    draw = random.Random(seed).uniform
    times, now = [], 0.0
    for _ in range(count):
        times.append(round(now))
        now += gap_ns * draw(0.5, 1.5)
    return times
