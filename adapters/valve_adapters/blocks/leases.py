"""The leased block pool: keeps an engine's own block pool to the pages that are backed, and mends what was
computed from a page that was lost.

It looks at the table before the engine schedules a step and before it believes a step's results. The pool
changes the table before kernels run again, so whatever was computed on lost memory is looked at afterwards.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple, Protocol

from . import recovery, words
from .layout import Layout, strips
from .table import PoolTable, table_of_environment

NULL_BLOCK = 0  # stands for none in the engines' block tables; what is in it is never read as anyone's
COST_SHARE = 0.01  # of the time may be spent on telling costs
COST_INTERVAL_S = 0.01
WAITING_LOOKED_AT = 64  # requests that a demand is made of
log = logging.getLogger("valve")


class Chain(NamedTuple):
    """A request's blocks in the order of its tokens, one list for each group of KV cache; as they are when
    called, also after the request has ended. `tokens`: computed or being computed.
    """

    request: Any
    blocks: Callable[[], Sequence[Sequence[int]]]
    tokens: int


@dataclass(frozen=True, slots=True)
class EngineBlocks:
    """The engine's own block pool. `hold`: takes blocks out of its free list, now or as soon as their owners
    free them; `give_back`: undoes that. `forget`: their contents may not be found in the prefix cache again.
    `resumes`: a preempted request finds what it has not lost in the prefix cache.
    """

    blocks: Sequence[Any]
    hold: Callable[[list[Any]], object]
    give_back: Callable[[list[Any]], object]
    forget: Callable[[set[int]], object]
    resumes: bool


class Engine(Protocol):
    """What is asked of the engine's scheduler."""

    def chains(self) -> list[Chain]:
        """Of all requests that hold blocks."""
        ...

    def preempt(self, requests: list[Any]) -> None:
        """Frees their blocks, drops what steps under way yield for them, computes them anew later."""
        ...

    def waiting_blocks(self) -> int:
        """What the next waiting requests need."""
        ...


class Leases:
    """One engine's leased block pool. `held`: the blocks that it may not use."""

    def __init__(self, engine: Engine, table: PoolTable, layout: Layout, own: EngineBlocks) -> None:
        self._engine, self._table, self._layout, self._own = engine, table, layout, own
        self._pages_of = cache(layout.pages_of)
        self._seen = table.words()
        self._missing: Counter[int] = Counter()  # by block, pages of it that are not backed
        self.held: set[int] = set()
        self._under_way: dict[int, list[Chain]] = {}
        self._told = -1  # epoch
        self._tell_at_s = 0.0
        self._used = self._wanted = 0
        self._hold(self._count(frozenset(range(table.pages)) - words.backed(self._seen), 1))
        self._tell(table.epoch)

    def sync(self) -> None:
        """Applies what the pool has changed. To be called before a step and before its results are used."""
        epoch, now = self._table.epoch, self._table.words()
        if now != self._seen:
            self._apply(words.change(self._seen, now))
            self._seen = now
        if epoch != self._told or time.monotonic() >= self._tell_at_s:
            self._tell(epoch)
        else:
            self._ask()

    def launched(self, step: int) -> None:
        """A step has been scheduled: until it has landed it may write to the blocks of all who run now, be
        they aborted meanwhile.
        """
        self._under_way[step] = self._engine.chains()

    def landed(self, step: int) -> None:
        """Its results are there."""
        self._under_way.pop(step, None)

    @contextlib.contextmanager
    def lifted(self) -> Iterator[None]:
        """Meanwhile the engine's block pool is whole; nothing may be allocated from it."""
        held, self.held = self.held, set()
        self._give_back(held)
        try:
            yield
        finally:
            self._hold(held)

    def _apply(self, change: words.Change) -> None:
        if lost := self._layout.blocks_of_all(change.lost):
            self._recover(lost)
        touched = self._count(change.unbacked, 1) | self._count(change.backed, -1)
        unusable = {block for block in touched if self._missing[block]}
        self._give_back(self.held & (touched - unusable))
        self._own.forget(unusable)
        self._hold(unusable)

    def _count(self, pages: frozenset[int], change: int) -> set[int]:
        """The blocks on them."""
        for page in pages:
            for block in self._layout.blocks_of(page):
                self._missing[block] += change
        return self._layout.blocks_of_all(pages)

    def _recover(self, lost: set[int]) -> None:
        running = self._engine.chains()
        under_way = [chain for chains in self._under_way.values() for chain in chains]
        blocks = [blocks for chain in (*running, *under_way) for blocks in chain.blocks()]
        spoilt = recovery.spoilt(lost, blocks, NULL_BLOCK)
        owners = [chain.request for chain in running if not spoilt.isdisjoint(_all(chain))]
        self._engine.preempt(owners)
        self._own.forget(spoilt)
        log.info("lost %d blocks: %d of %d requests are computed anew", len(lost), len(owners), len(running))

    def _hold(self, blocks: set[int]) -> None:
        new = blocks - self.held - {NULL_BLOCK}
        self.held |= new
        self._own.hold([self._own.blocks[block] for block in sorted(new)])

    def _give_back(self, blocks: set[int]) -> None:
        self.held -= blocks
        self._own.give_back([self._own.blocks[block] for block in sorted(blocks)])

    def _tell(self, epoch: int) -> None:
        began_s = time.monotonic()
        chains = ((_all(chain), chain.tokens) for chain in self._engine.chains())
        costs = recovery.costs(self._pages_of, self._table.pages, chains, self._own.resumes)
        self._used, self._wanted = len(costs) - costs.count(0), 0
        self._ask()
        self._table.tell(epoch, costs)
        self._told = epoch
        now_s = time.monotonic()
        self._tell_at_s = now_s + max(COST_INTERVAL_S, (now_s - began_s) / COST_SHARE)

    def _ask(self) -> None:
        """Between two tellings only for more: what waited may be running by now."""
        wanted = self._used + recovery.pages_for(self._layout, self._engine.waiting_blocks())
        if wanted > self._wanted:
            self._wanted = wanted
            self._table.want(wanted)


def open_leases(engine: Engine, parts: Iterable[tuple[int, int, int, int]], own: EngineBlocks) -> Leases:
    """`parts`: where the engine's KV memory has its blocks, as layout.strips takes it.

    Raises TableError, LayoutError.
    """
    table, blocks = table_of_environment(), len(own.blocks)
    return Leases(engine, table, Layout(table.page_bytes, table.pages, blocks, strips(parts, blocks)), own)


def _all(chain: Chain) -> list[int]:
    return [block for blocks in chain.blocks() for block in blocks]
