"""SGLang on a leased block pool: its slots, one token each, are the blocks. A test counts the lines that name
anything of SGLang's. Facts: SGLang 0.5.23.
"""

from __future__ import annotations

from typing import Any

from sglang.srt.plugins.hook_registry import HookRegistry, HookType

from .leases import Chain, EngineBlocks, open_leases
from .memory import pool_memory
from .table import is_online
from .tensors import indexes, parts, row, without
from .wrapping import refuse, refuse_unless


class LeasedSlots:
    """One scheduler's slots. `batches`: whose requests hold slots now. `retracted`: to leave them."""

    def __init__(self, scheduler: Any) -> None:
        """Raises UnsupportedError, TableError, LayoutError."""
        self.scheduler, told = scheduler, scheduler.server_args
        refuse(is_online(), "an online engine of this kind")
        refuse_unless(told, tp_size=1, pp_size=1, dp_size=1, page_size=1, chunked_prefill_size=-1)
        refuse_unless(told, disable_radix_cache=True, disable_overlap_schedule=True)
        self.slots = scheduler.token_to_kv_pool_allocator
        kv = self.slots.get_kvcache()
        buffers = [*kv.k_buffer, *kv.v_buffer]
        own = EngineBlocks(range(len(buffers[0])), self.hold, self.give_back, _forget, resumes=False)
        self.batches: list[Any] = []
        self.retracted: list[Any] = []
        self.leases = open_leases(self, parts(buffers), own)

    def look(self, *batches: Any) -> None:
        """Applies what the pool has changed."""
        self.batches = list({id(batch): batch for batch in batches if batch is not None}.values())
        self.hold(sorted(self.leases.held))  # a flush of SGLang's frees them
        self.leases.sync()

    def leave(self) -> None:
        """Takes the retracted requests out of their batches: after a step's results are read."""
        if self.retracted:
            for batch in self.batches:
                batch.filter_batch(reqs_to_exclude=self.retracted)
        self.retracted = []

    def chains(self) -> list[Chain]:
        table = self.scheduler.req_to_token_pool.req_to_token
        places = [(each, each.kv.req_pool_idx, each.kv.kv_allocated_len) for _, _, each in self._requests()]
        return [Chain(each, row(table, index, length), length) for each, index, length in places]

    def preempt(self, requests: list[Any]) -> None:
        for batch, index, request in self._requests():
            if request in requests:
                batch.release_req(index, 0)
                self.scheduler._add_request_to_queue(request, is_retracted=True)
        self.retracted += requests

    def _requests(self) -> list[tuple[Any, int, Any]]:
        """(batch, index in it, request)."""
        return [(batch, index, each) for batch in self.batches for index, each in enumerate(batch.reqs)]

    def hold(self, slots: list[int]) -> None:
        if slots:
            self.slots.free_pages = without(self.slots.free_pages, slots)

    def give_back(self, slots: list[int]) -> None:
        if slots:
            self.slots.free(indexes(slots, like=self.slots.free_pages))

    def waiting_blocks(self) -> int:
        return 0


def install() -> None:
    """Called in every process of SGLang's, before anything is allocated."""
    for target, hook in HOOKS.items():
        HookRegistry.register(f"sglang.srt.{target}", hook, HookType.AROUND)


def _allocate(create: Any, *arguments: Any) -> Any:
    with pool_memory():
        return create(*arguments)


def _schedule(schedule: Any, scheduler: Any, **batches: Any) -> Any:
    leased = _leased(scheduler)
    leased.look(*batches.values())
    leased.leave()
    return schedule(scheduler, **batches)


def _land(process: Any, scheduler: Any, batch: Any, result: Any) -> Any:
    leased = _leased(scheduler)
    leased.look(batch, scheduler.running_batch)
    try:
        return process(scheduler, batch, result)
    finally:
        leased.leave()


def _leased(scheduler: Any) -> LeasedSlots:
    """Made when the scheduler first looks for work."""
    if not hasattr(scheduler, "leased_slots"):
        scheduler.leased_slots = LeasedSlots(scheduler)
    slots: LeasedSlots = scheduler.leased_slots
    return slots


def _forget(_blocks: set[int]) -> None:
    """There is no prefix cache."""


HOOKS = {
    "mem_cache.memory_pool.MHATokenToKVPool._create_buffers": _allocate,
    "managers.scheduler.Scheduler.get_next_batch_to_run": _schedule,
    "managers.scheduler.Scheduler.process_batch_result": _land,
}
