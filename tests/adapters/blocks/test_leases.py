"""The leased block pool under every order of steps, losses, returns, aborts: whatever happens to memory, no
request is answered with what was computed from lost bytes, and no block goes missing.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from valve_adapters.blocks.layout import Layout, Strip
from valve_adapters.blocks.leases import Chain, EngineBlocks, Leases
from valve_adapters.blocks.table import PoolTable
from valve_adapters.blocks.wrapping import landing, launching, lifting

from .model_engine import BLOCK, GARBAGE, Device, Request, Scheduler, Step, truth
from .pool import Pool

BLOCKS = 14
BLOCK_BYTES, PAGE_BYTES = 24, 32  # a block lies on one page or two
PAGES = -(-BLOCKS * BLOCK_BYTES // PAGE_BYTES)
QUICK = settings(
    max_examples=25,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.explicit, Phase.generate],  # to shrink a failure takes minutes: do that by hand
)


class LeasedModel(Scheduler):
    """The model on a leased block pool, wired as blocks/vllm.py wires vLLM."""

    schedule = launching(Scheduler.schedule)
    update = landing(Scheduler.update)

    def __init__(self, table: PoolTable) -> None:
        super().__init__(BLOCKS)
        layout = Layout(PAGE_BYTES, PAGES, BLOCKS, (Strip(0, BLOCK_BYTES),))
        pool = self.pool
        own = EngineBlocks(pool.blocks, pool.touch, pool.give_back, self.forget, True)
        self.leases = Leases(self.as_engine(), table, layout, own)

    def forget(self, blocks: set[int]) -> None:
        self.pool.evict(blocks)

    def as_engine(self) -> Any:
        return ModelEngine(self)

    @lifting
    def free_now(self) -> int:
        """Of all blocks, those that no request owns."""
        return len(self.pool.free)


class ModelEngine:
    """Implements leases.Engine."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler

    def chains(self) -> list[Chain]:
        running = self._scheduler.running
        return [Chain(each, _table(each), each.computed) for each in running]

    def preempt(self, requests: list[Request]) -> None:
        for request in reversed(requests):
            self._scheduler.preempt(request)

    def waiting_blocks(self) -> int:
        return sum(-(-len(request.known) // BLOCK) for request in self._scheduler.waiting)


def _table(request: Request) -> Any:
    blocks = request.blocks
    return lambda: ([block.block_id for block in blocks],)


class Machine(RuleBasedStateMachine):
    """`steps`: under way; those with results have run."""

    model = LeasedModel

    @initialize(depth=st.sampled_from([1, 2]))
    def start(self, depth: int) -> None:
        self.folder = TemporaryDirectory()
        self.pool = Pool(Path(self.folder.name) / "table", PAGE_BYTES, PAGES)
        self.scheduler = self.model(PoolTable(self.pool.path))
        self.device = Device(BLOCKS)
        self.depth = depth
        self.steps: list[Step] = []
        self.requests: list[Request] = []
        self.gone: set[int] = set()  # pages whose memory somebody else has

    def teardown(self) -> None:
        if not hasattr(self, "pool"):
            return
        try:
            self._finish()
        finally:
            self.folder.cleanup()

    @rule(prompt=st.lists(st.integers(0, 1), min_size=1, max_size=9), limit=st.integers(1, 5))
    def submit(self, prompt: list[int], limit: int) -> None:
        request = Request(tuple(prompt), limit)
        self.requests.append(request)
        self.scheduler.waiting.append(request)

    @precondition(lambda self: len(self.steps) < self.depth)
    @rule()
    def launch(self) -> None:
        self.steps.append(self.scheduler.schedule())

    @precondition(lambda self: any(step.results is None for step in self.steps))
    @rule()
    def run(self) -> None:
        self.device.run(next(step for step in self.steps if step.results is None))

    @precondition(lambda self: self.steps and self.steps[0].results is not None)
    @rule()
    def land(self) -> None:
        self.scheduler.update(self.steps.pop(0))
        for request in self.requests:
            assert request.output == answer(request)[: len(request.output)]

    @precondition(lambda self: any(not request.ended for request in self.requests))
    @rule(data=st.data())
    def abort(self, data: st.DataObject) -> None:
        self.scheduler.abort(data.draw(st.sampled_from([r for r in self.requests if not r.ended])))

    @rule(pages=st.sets(st.integers(0, PAGES - 1), min_size=1, max_size=3))
    def lose(self, pages: set[int]) -> None:
        self._spoil(pages)
        self.gone |= pages
        self.pool.lose(pages)

    @rule(pages=st.sets(st.integers(0, PAGES - 1), min_size=1))
    def back(self, pages: set[int]) -> None:
        self._spoil(pages & self.gone)
        self.gone -= pages
        self.pool.back(pages)

    @rule(pages=st.sets(st.integers(0, PAGES - 1), min_size=1, max_size=4))
    def withdraw(self, pages: set[int]) -> None:
        """What is asked of an online engine: pages that it says cost nothing."""
        self.pool.withdraw(pages)

    @precondition(lambda self: self.pool.seen)
    @rule()
    def take(self) -> None:
        """Whoever has seen that pages are withdrawn, and calls them worthless still, does not miss them; but
        what a step under way has in its table, of a request that has ended, may be another's by now.
        """
        withdrawn = set(range(PAGES)) - self.pool.backed - self.gone
        taken = {page for page in withdrawn if not self.pool.costs[page]}
        before = [request.lives for request in self.requests]
        self._spoil(taken)
        self.gone |= taken
        self.pool.lose(taken)
        self.scheduler.leases.sync()
        assert self.steps or [request.lives for request in self.requests] == before

    def _spoil(self, pages: set[int]) -> None:
        for page in pages:
            for block in range(page * PAGE_BYTES // BLOCK_BYTES, BLOCKS):
                if block * BLOCK_BYTES < (page + 1) * PAGE_BYTES:
                    self.device.memory[block] = [GARBAGE] * BLOCK

    def _finish(self) -> None:
        """All memory is given back; everyone is answered, and everything is free again."""
        self.pool.back(set(range(PAGES)))
        self.scheduler.leases.sync()
        for _ in range(1000):
            if all(request.ended for request in self.requests) and not self.steps:
                break
            if len(self.steps) < self.depth:
                self.launch()
            self.run() if self.steps[0].results is None else self.land()
        assert all(request.ended for request in self.requests)
        assert self.scheduler.free_now() == len(self.scheduler.pool.free) == BLOCKS - 1
        self._check_cache()

    def _check_cache(self) -> None:
        """Nothing that can be found is spoilt."""
        for key, block in self.scheduler.pool.cached.items():
            entries = self.device.memory[block.block_id]
            assert entries == [key[: len(key) - BLOCK + 1 + at] for at in range(BLOCK)]


def answer(request: Request) -> list[int]:
    """What a request is answered where nothing is ever lost."""
    tokens = list(request.prompt)
    for _ in range(request.limit):
        tokens.append(truth(tuple(tokens)))
    return tokens[len(request.prompt) :]


Machine.TestCase.settings = QUICK
TestLeases = Machine.TestCase


class ForgetsNothing(LeasedModel):
    """A mistake: what was lost can still be found in the prefix cache."""

    def forget(self, blocks: set[int]) -> None:
        pass


class PreemptsNobody(LeasedModel):
    """A mistake: who owns a lost block goes on."""

    def as_engine(self) -> Any:
        return type("Engine", (ModelEngine,), {"preempt": nothing})(self)


class OnlyWhoRuns(LeasedModel):
    """A mistake: steps under way of requests that have ended are not thought of."""

    def __init__(self, table: PoolTable) -> None:
        super().__init__(table)
        self.leases.launched = nothing  # type: ignore[method-assign]


def nothing(*_: object) -> None:
    pass


@pytest.mark.parametrize("mistake", [ForgetsNothing, PreemptsNobody])
def test_mistakes_are_caught(mistake: type[LeasedModel]) -> None:
    machine = type("Mistaken", (Machine,), {"model": mistake})
    with pytest.raises(AssertionError):
        run_state_machine_as_test(
            machine,
            settings=settings(QUICK, max_examples=300, derandomize=True, database=None, print_blob=False),
        )


@pytest.mark.parametrize(("model", "is_right"), [(LeasedModel, True), (OnlyWhoRuns, False)])
def test_what_a_step_under_way_of_an_aborted_request_writes(
    tmp_path: Path, model: type[LeasedModel], is_right: bool
) -> None:
    """Its blocks can be found in the prefix cache before the step has run, which is on lost memory. Whoever
    computes the lost block anew makes what comes after it found again.
    """
    pool = Pool(tmp_path / "table", PAGE_BYTES, PAGES)
    scheduler, device = model(PoolTable(pool.path)), Device(BLOCKS)
    first, second, third = (Request((0, 1, 0, 1, 0, 1, 0), 1) for _ in range(3))
    scheduler.waiting.append(first)
    one_step(scheduler, device)
    step = scheduler.schedule()
    lost = first.blocks[0].block_id
    scheduler.abort(first)
    pool.lose({lost * BLOCK_BYTES // PAGE_BYTES})
    device.memory[lost] = [GARBAGE] * BLOCK
    device.run(step)
    scheduler.update(step)
    for request in (second, third):
        scheduler.waiting.append(request)
        while not request.ended:
            one_step(scheduler, device)
    assert (third.output == answer(third)) == is_right


def one_step(scheduler: Scheduler, device: Device) -> None:
    step = scheduler.schedule()
    device.run(step)
    scheduler.update(step)
