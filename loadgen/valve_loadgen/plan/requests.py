"""Owns the planner's view of traffic: requests by the million, in columns, and how to cut them (pure)."""

import bisect
import random
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import compress
from typing import TypeVar

from valve_loadgen.plan.engine import Engine

Number = TypeVar("Number", int, float)


def seconds() -> "array[float]":
    return array("d")


def counts() -> "array[int]":
    return array("I")


@dataclass(frozen=True)
class Requests:
    """Requests by arrival: seconds since the start, tokens, and the deployment each belongs to (an index)."""

    span_s: float
    """The observed time; no arrival lies beyond it."""
    deployments: Sequence[str]
    at_s: "array[float]" = field(default_factory=seconds)
    inputs: "array[int]" = field(default_factory=counts)
    outputs: "array[int]" = field(default_factory=counts)
    group: "array[int]" = field(default_factory=counts)

    def __len__(self) -> int:
        return len(self.at_s)

    @property
    def rate_rps(self) -> float:
        return len(self) / self.span_s if self.span_s else 0.0

    def loads(self, engine: Engine) -> list[float]:
        """By deployment: its mean load in replicas of `engine` that are always full."""
        totals = [[0, 0, 0] for _ in self.deployments]
        for group, inputs, outputs in zip(self.group, self.inputs, self.outputs, strict=True):
            total = totals[group]
            total[0] += 1
            total[1] += inputs
            total[2] += outputs
        return [self._load(engine, *total) for total in totals]

    def _load(self, engine: Engine, count: int, inputs: int, outputs: int) -> float:
        if not count or not self.span_s:
            return 0.0
        return count / self.span_s / engine.capacity_rps(inputs / count, outputs / count)

    def of_deployment(self, number: int) -> "Requests":
        """Those of one deployment, which is the only one then."""
        kept = [group == number for group in self.group]
        return replace(
            self._only(kept), deployments=[self.deployments[number]], group=array("I", bytes(4 * sum(kept)))
        )

    def until(self, span_s: float) -> "Requests":
        """Those that arrive before `span_s`."""
        end = bisect.bisect_left(self.at_s, span_s)
        return replace(
            self,
            span_s=span_s,
            at_s=self.at_s[:end],
            inputs=self.inputs[:end],
            outputs=self.outputs[:end],
            group=self.group[:end],
        )

    def thinned(self, keep: float, seed: int) -> "Requests":
        """Each request kept with probability `keep`; the wall-clock structure stays."""
        draw = random.Random(seed).random
        return self._only([draw() < keep for _ in range(len(self))])

    def _only(self, kept: Sequence[bool]) -> "Requests":
        return replace(
            self,
            at_s=_chosen(self.at_s, kept),
            inputs=_chosen(self.inputs, kept),
            outputs=_chosen(self.outputs, kept),
            group=_chosen(self.group, kept),
        )

    def stretched(self, factor: float) -> "Requests":
        """Every time multiplied by `factor`; below 1 compresses."""
        at_s = array("d", (at * factor for at in self.at_s))
        return replace(self, at_s=at_s, span_s=self.span_s * factor)


def _chosen(column: "array[Number]", kept: Sequence[bool]) -> "array[Number]":
    return array(column.typecode, compress(column, kept))


def merged(parts: Sequence[Requests]) -> Requests:
    """All requests by arrival; every part's deployments stay apart."""
    if len(parts) == 1:
        return parts[0]
    names = [name for part in parts for name in part.deployments]
    whole = Requests(max(part.span_s for part in parts), names)
    offset = 0
    for part in parts:
        whole.at_s.extend(part.at_s)
        whole.inputs.extend(part.inputs)
        whole.outputs.extend(part.outputs)
        whole.group.extend(array("I", (group + offset for group in part.group)))
        offset += len(part.deployments)
    return by_arrival(whole)


def by_arrival(requests: Requests) -> Requests:
    """Sorted by arrival; requests that arrive together keep their order."""
    order = sorted(range(len(requests)), key=requests.at_s.__getitem__)
    return replace(
        requests,
        at_s=_picked(requests.at_s, order),
        inputs=_picked(requests.inputs, order),
        outputs=_picked(requests.outputs, order),
        group=_picked(requests.group, order),
    )


def _picked(column: "array[Number]", order: Iterable[int]) -> "array[Number]":
    return array(column.typecode, map(column.__getitem__, order))
