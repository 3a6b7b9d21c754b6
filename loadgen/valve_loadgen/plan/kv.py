"""Owns the KV pages that a replica's requests hold over time, as a simulation has served them (pure)."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from valve_loadgen.plan.engine import Engine
from valve_loadgen.plan.kernel import Outcome
from valve_loadgen.plan.requests import Requests

Change = tuple[float, int, int]
"""(seconds, pages held more or less, pages announced more or less)"""


@dataclass(frozen=True)
class Usage:
    """By time. A request announces its prompt's pages when it arrives, holds them from the start of its
    prompt's processing, then more as its tokens fill them, and gives all back at its end.
    """

    span_s: float
    changes: Sequence[Change]
    soon_max: int
    """Pages that prompts of one iteration fill: what waits beyond them is not needed soon."""

    @property
    def peak(self) -> int:
        held = most = 0
        for _, more, _ in self.changes:
            held += more
            most = max(most, held)
        return most


GROWTHS = 8
"""A request grows so many times at most: by a page, or by several where its answer is long."""


def usages(requests: Requests, outcome: Outcome, engine: Engine, budget: int) -> dict[int, Usage]:
    """By replica: evenly chosen ones whose changes fit the budget; of a single one the first that fit."""
    sizes: dict[int, int] = {}
    for index, replica in enumerate(outcome.replica):
        sizes[replica] = sizes.get(replica, 0) + _size(requests, index, engine.page_tokens)
    chosen = set(_evenly(sorted(sizes), sizes, budget))
    found: dict[int, list[Change]] = {replica: [] for replica in chosen}
    span_s = requests.span_s
    for index, replica in enumerate(outcome.replica):
        if replica not in chosen:
            continue
        if len(found[replica]) > budget:
            span_s = requests.at_s[index]
            break
        found[replica].extend(_changes(requests, outcome, engine, index))
    soon_max = engine.chunk // engine.page_tokens
    return {replica: Usage(span_s, sorted(changes), soon_max) for replica, changes in sorted(found.items())}


def _size(requests: Requests, index: int, page_tokens: int) -> int:
    return 3 + min(requests.outputs[index] // page_tokens, GROWTHS)


def _evenly(replicas: Sequence[int], sizes: dict[int, int], budget: int) -> Sequence[int]:
    """Every n-th, n being the smallest that fits; one at least."""
    for stride in range(1, len(replicas) + 1):
        chosen = replicas[stride // 2 :: stride]
        if sum(sizes[replica] for replica in chosen) <= budget:
            return chosen
    return replicas[len(replicas) // 2 :][:1]


def _changes(requests: Requests, outcome: Outcome, engine: Engine, index: int) -> Iterator[Change]:
    at_s, first_s, done_s = requests.at_s[index], outcome.first_s[index], outcome.done_s[index]
    inputs, outputs = max(1, requests.inputs[index]), requests.outputs[index]
    prompt = -(-inputs // engine.page_tokens)
    whole = -(-(inputs + outputs - 1) // engine.page_tokens)
    prefill_s = engine.step_ms / 1e3 + inputs / engine.prefill_tokens_per_s
    yield at_s, 0, prompt
    yield max(at_s, first_s - prefill_s), prompt, -prompt
    step = max(1, -(-(whole - prompt) // GROWTHS))
    for page in range(prompt, whole, step):
        token = page * engine.page_tokens - inputs  # generated before the one that needs the page
        yield first_s + (done_s - first_s) * token / (outputs - 1), min(step, whole - page), 0
    yield done_s, -whole, 0
