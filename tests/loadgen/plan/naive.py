"""A fleet simulated one iteration after the other, without any cleverness: the kernel is held against it."""

import math
from dataclasses import dataclass, field

from valve_loadgen.plan.engine import Engine
from valve_loadgen.plan.kernel import Fleet, Rule
from valve_loadgen.plan.requests import Requests


@dataclass
class NaiveReplica:
    """Iterations as they come; `in_flight` and `waiting` are those after the last one that has ended."""

    engine: Engine
    requests: Requests
    first_s: dict[int, float] = field(default_factory=dict)
    done_s: dict[int, float] = field(default_factory=dict)
    now_s: float = 0.0
    queue: list[int] = field(default_factory=list)
    left: dict[int, int] = field(default_factory=dict)
    decoding: dict[int, int] = field(default_factory=dict)
    """Tokens still to come, by request."""
    busy: list[tuple[float, float]] = field(default_factory=list)

    @property
    def in_flight(self) -> int:
        return len(self.queue) + len(self.decoding)

    @property
    def waiting(self) -> int:
        return sum(self.left[request] for request in self.queue)

    def accept(self, request: int) -> None:
        at_s = self.requests.at_s[request]
        if not self.in_flight:
            self.now_s = at_s
            self.busy.append((at_s, math.inf))
        self.queue.append(request)
        self.left[request] = self.requests.inputs[request]

    def advance(self, until_s: float) -> None:
        while self.in_flight:
            taken, tokens = self._intake()
            running = len(self.decoding)
            rate = self.engine.prefill_tokens_per_s
            end_s = self.now_s + self.engine.iteration_s(running) + tokens / rate
            if end_s > until_s:
                return
            self._end(end_s, taken)

    def _intake(self) -> tuple[dict[int, int], int]:
        """Prompt tokens taken in by the next iteration, by request."""
        taken: dict[int, int] = {}
        room, seats = self.engine.chunk, self.engine.batch - len(self.decoding)
        for request in self.queue:
            if self.requests.at_s[request] > self.now_s + 1e-9 or room == 0 or seats == 0:
                break
            taken[request] = min(room, self.left[request])
            room -= taken[request]
            if taken[request] < self.left[request]:
                break
            seats -= 1
        return taken, sum(taken.values())

    def _end(self, end_s: float, taken: dict[int, int]) -> None:
        self.now_s = end_s
        for request in list(self.decoding):
            self.decoding[request] -= 1
            if not self.decoding[request]:
                self._finish(request)
        for request, tokens in taken.items():
            self.left[request] -= tokens
            if not self.left[request]:
                self._begin(request)
        if not self.in_flight:
            self.busy[-1] = (self.busy[-1][0], end_s)

    def _begin(self, request: int) -> None:
        self.queue.remove(request)
        self.first_s[request] = self.now_s
        if self.requests.outputs[request] <= 1:
            self.done_s[request] = self.now_s
        else:
            self.decoding[request] = self.requests.outputs[request] - 1

    def _finish(self, request: int) -> None:
        del self.decoding[request]
        self.done_s[request] = self.now_s


def simulate(engine: Engine, requests: Requests, fleet: Fleet) -> list[NaiveReplica]:
    replicas = [NaiveReplica(engine, requests) for _ in range(fleet.replicas)]
    turns = [0] * fleet.replicas
    for request, at_s in enumerate(requests.at_s):
        for replica in replicas:
            replica.advance(at_s)
        replicas[_route(engine, fleet, replicas, turns, requests.group[request])].accept(request)
    for replica in replicas:
        replica.advance(math.inf)
    return replicas


def _route(engine: Engine, fleet: Fleet, replicas: list[NaiveReplica], turns: list[int], group: int) -> int:
    base, size = fleet.parts[group]
    if fleet.rule is Rule.PACK_FIRST:
        for index in range(base, base + size):
            if replicas[index].in_flight < fleet.pack_limit and replicas[index].waiting < engine.chunk:
                return index
    order = [base + (turns[base] + step) % size for step in range(size)]
    chosen = order[0]
    if fleet.rule is not Rule.ROTATE:
        chosen = min(order, key=lambda index: replicas[index].in_flight)
    turns[base] = (chosen - base + 1) % size
    return chosen
