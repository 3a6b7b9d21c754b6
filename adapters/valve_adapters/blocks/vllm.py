"""vLLM on a leased block pool: the scheduler class for --scheduler-cls, and what has its KV memory allocated
in the pool. A test counts the lines that name anything of vLLM's. Facts: vLLM 0.32.0 and 0.33.0.
"""

from __future__ import annotations

import time
from contextlib import AbstractContextManager
from itertools import islice
from typing import Any

from vllm.v1.core.sched.async_scheduler import AsyncScheduler
from vllm.v1.worker.gpu_worker import Worker

from .leases import WAITING_LOOKED_AT, Chain, EngineBlocks, open_leases
from .memory import pool_memory
from .wrapping import landing, launching, lifting, refuse, refuse_set, within


class LeasedScheduler(AsyncScheduler):  # type: ignore[misc]
    """vLLM's own scheduler, with async scheduling and without, on the blocks that are backed."""

    schedule = launching(AsyncScheduler.schedule)
    update_from_output = landing(AsyncScheduler.update_from_output)
    reset_prefix_cache = lifting(AsyncScheduler.reset_prefix_cache)

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        """Raises UnsupportedError, TableError, LayoutError."""
        super().__init__(*arguments, **keywords)
        refuse_set(self.vllm_config, "kv_transfer_config", "speculative_config", "diffusion_config")
        refuse(self.parallel_config.world_size_across_dp > 1, "more than one worker")
        refuse(len(self.kv_cache_config.kv_cache_groups) != 1, "a hybrid model")
        pool, parts = self.kv_cache_manager.block_pool, self.kv_cache_config.kv_cache_tensors
        parts = [(part.offset, part.layer_stride, part.block_stride, len(part.layers)) for part in parts]
        own = EngineBlocks(pool.blocks, pool.touch, pool.free_blocks, pool.evict_blocks, pool.enable_caching)
        self.leases = open_leases(self, parts, own)

    def chains(self) -> list[Chain]:
        blocks = self.kv_cache_manager.get_blocks
        return [Chain(r, blocks(r.request_id).get_block_ids, r.num_computed_tokens) for r in self.running]

    def preempt(self, requests: list[Any]) -> None:
        for request in reversed(requests):  # each is put before the one that came after it
            self.running.remove(request)
            self._preempt_request(request, time.monotonic(), drop_stale_output=True)
            self.prev_step_scheduled_req_ids.discard(request.request_id)

    def waiting_blocks(self) -> int:
        return sum(-(-r.num_tokens // self.block_size) for r in islice(self.waiting, WAITING_LOOKED_AT))


def install() -> None:
    """Called in every process of vLLM's, before anything is allocated."""
    Worker._maybe_get_memory_pool_context = within(Worker._maybe_get_memory_pool_context, "kv_cache", _memory)


def _memory(worker: Any) -> AbstractContextManager[Any]:
    """Where the KV cache is allocated. Raises UnsupportedError."""
    scheduler = str(worker.vllm_config.scheduler_config.scheduler_cls)
    refuse(LeasedScheduler.__name__ not in scheduler, "another scheduler than Valve's (--scheduler-cls)")
    return pool_memory()
