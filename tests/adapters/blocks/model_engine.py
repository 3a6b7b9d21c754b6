"""A small engine with vLLM's ways: prefix cache, shared blocks, chunked prefill, steps under way while the
next is scheduled. Its memory holds for each token what it was computed from: nothing that comes of lost bytes
goes unnoticed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

BLOCK = 2  # tokens
CHUNK = 3  # tokens of one request in a step
GARBAGE = (-1,)
Tokens = tuple[int, ...]


def truth(prefix: Tokens) -> int:
    """The token that follows, if nothing goes wrong."""
    return hash(prefix) % 3


@dataclass
class Block:
    block_id: int
    owners: int = 0
    key: Tokens | None = None


@dataclass(eq=False)
class Request:
    """`stale`: tokens under way whose results are to be dropped."""

    prompt: Tokens
    limit: int
    output: list[int] = field(default_factory=list)
    blocks: list[Block] = field(default_factory=list)
    computed: int = 0
    sampled: int = 0  # by steps under way
    under_way: int = 0
    stale: int = 0
    lives: int = 0
    ended: bool = False

    @property
    def known(self) -> Tokens:
        return (*self.prompt, *self.output)

    def wanted(self) -> int:
        """Tokens that could be computed next."""
        if len(self.output) + self.sampled >= self.limit:
            return 0
        return min(CHUNK, len(self.known) + self.sampled - self.computed)


@dataclass(frozen=True)
class Part:
    """One request's share of a step. `table`: where its blocks lie. `samples`: a token comes out of it."""

    request: Request
    life: int
    table: tuple[int, ...]
    known: Tokens
    start: int
    count: int
    samples: bool


@dataclass(eq=False)
class Step:
    parts: list[Part]
    results: list[int] | None = None


class BlockPool:
    """As vLLM's: a free block may still be found by its key; block 0 is nobody's."""

    def __init__(self, blocks: int) -> None:
        self.blocks = [Block(number) for number in range(blocks)]
        self.free = deque(self.blocks[1:])
        self.cached: dict[Tokens, Block] = {}

    def take(self, count: int) -> list[Block]:
        taken = [self.free.popleft() for _ in range(count)]
        self.evict({block.block_id for block in taken})
        for block in taken:
            block.owners = 1
        return taken

    def touch(self, blocks: Iterable[Block]) -> None:
        for block in blocks:
            if block.owners == 0:
                self.free.remove(block)
            block.owners += 1

    def give_back(self, blocks: Iterable[Block]) -> None:
        for block in blocks:
            block.owners -= 1
            assert block.owners >= 0
            if block.owners == 0:
                self.free.append(block)

    def cache(self, block: Block, key: Tokens) -> None:
        if block.key is None and key not in self.cached:
            block.key = key
            self.cached[key] = block

    def evict(self, blocks: set[int]) -> None:
        for block in (self.blocks[number] for number in blocks):
            if block.key is not None:
                del self.cached[block.key]
                block.key = None


class Device:
    """Runs steps in their order, on whatever is in memory then."""

    def __init__(self, blocks: int) -> None:
        self.memory: list[list[Tokens]] = [[GARBAGE] * BLOCK for _ in range(blocks)]
        self._last: dict[tuple[int, int], int] = {}

    def run(self, step: Step) -> None:
        step.results = [self._compute(part) for part in step.parts]

    def _compute(self, part: Part) -> int:
        tokens = list(part.known)
        if part.start + part.count > len(tokens):
            tokens.append(self._last[id(part.request), part.life])
        prefix = tuple(tokens[: part.start + part.count])
        sound = all(self._at(part, at) == prefix[: at + 1] for at in range(part.start))
        for at in range(part.start, part.start + part.count):
            block = self.memory[part.table[at // BLOCK]]
            block[at % BLOCK] = prefix[: at + 1] if sound else GARBAGE
        sampled = truth(prefix) if sound else GARBAGE[0]
        if part.samples:
            self._last[id(part.request), part.life] = sampled
        return sampled

    def _at(self, part: Part, at: int) -> Tokens:
        return self.memory[part.table[at // BLOCK]][at % BLOCK]


class Scheduler:
    """Without a thought of lost memory."""

    def __init__(self, blocks: int) -> None:
        self.pool = BlockPool(blocks)
        self.running: list[Request] = []
        self.waiting: deque[Request] = deque()

    def schedule(self) -> Step:
        parts = [part for request in list(self.running) if (part := self._continue(request))]
        while self.waiting and (part := self._admit(self.waiting[0])):
            parts.append(part)
        return Step([part for part in parts if part.life == part.request.lives])

    def update(self, step: Step) -> None:
        assert step.results is not None
        for part, result in zip(step.parts, step.results, strict=True):
            request = part.request
            request.under_way -= part.count
            if request.stale:
                request.stale -= part.count
            elif part.samples and not request.ended:
                self._append(request, result)

    def abort(self, request: Request) -> None:
        request.ended = True
        if request in self.running:
            self.running.remove(request)
            self._free(request)
        elif request in self.waiting:
            self.waiting.remove(request)

    def preempt(self, request: Request) -> None:
        self.running.remove(request)
        self._free(request)
        request.computed = request.sampled = 0
        request.stale = request.under_way
        request.lives += 1
        self.waiting.appendleft(request)

    def _append(self, request: Request, token: int) -> None:
        request.output.append(token)
        request.sampled -= 1
        self._cache(request, request.computed - request.sampled)
        if len(request.output) == request.limit:
            self.abort(request)

    def _continue(self, request: Request) -> Part | None:
        if request not in self.running or not (count := request.wanted()):
            return None
        while not self._allocate(request, count):
            self.preempt(self.running[-1])
            if request not in self.running:
                return None
        return self._launch(request, count)

    def _admit(self, request: Request) -> Part | None:
        found = self._cached_prefix(request)
        self.pool.touch(found)
        request.blocks, request.computed = list(found), len(found) * BLOCK
        if not self._allocate(request, request.wanted()):
            self._free(request)
            request.computed = 0
            return None
        self.waiting.popleft()
        self.running.append(request)
        return self._launch(request, request.wanted())

    def _launch(self, request: Request, count: int) -> Part:
        table = tuple(block.block_id for block in request.blocks)
        start, end = request.computed, request.computed + count
        samples = end == len(request.known) + request.sampled
        part = Part(request, request.lives, table, request.known, start, count, samples)
        request.computed = end
        request.under_way += count
        self._cache(request, min(end, len(request.known)))
        request.sampled += samples
        return part

    def _allocate(self, request: Request, count: int) -> bool:
        missing = -(-(request.computed + count) // BLOCK) - len(request.blocks)
        if missing > len(self.pool.free):
            return False
        request.blocks += self.pool.take(max(0, missing))
        return True

    def _cache(self, request: Request, tokens: int) -> None:
        """At once, although the step that computes them may not have run."""
        for index in range(tokens // BLOCK):
            self.pool.cache(request.blocks[index], request.known[: (index + 1) * BLOCK])

    def _cached_prefix(self, request: Request) -> list[Block]:
        found = []
        for end in range(BLOCK, len(request.known), BLOCK):
            if (block := self.pool.cached.get(request.known[:end])) is None:
                break
            found.append(block)
        return found

    def _free(self, request: Request) -> None:
        self.pool.give_back(reversed(request.blocks))
        request.blocks = []
