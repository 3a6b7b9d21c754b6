"""Where an engine's KV memory is allocated: in the pool. torch is the engine's own."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, TypeAlias

from .errors import UnsupportedError

SHIM = "VALVE_SHIM"
CPU_MEMORY = "VALVE_POOL_MEMORY"
ALIGNMENT = 2 << 20
Context: TypeAlias = AbstractContextManager[Any]
_kept: list[Any] = []  # the allocator has to outlive what it has allocated


def pool_memory() -> Context:
    """What torch allocates in this context is the pool's: by the shim on a GPU; on the CPU, and only there,
    in the file that VALVE_POOL_MEMORY names. Raises UnsupportedError.
    """
    if shim := os.environ.get(SHIM):
        return _from_shim(shim)
    if path := os.environ.get(CPU_MEMORY):
        return _from_file(Path(path))
    raise UnsupportedError(f"there is a pool but neither {SHIM} nor {CPU_MEMORY}: start with `valve run`")


def _from_shim(shim: str) -> Context:
    import torch

    allocator = torch.cuda.memory.CUDAPluggableAllocator(shim, "vlv_pool_alloc", "vlv_pool_free")
    pool = torch.cuda.MemPool(allocator.allocator())
    _kept.extend((allocator, pool))
    context: Context = torch.cuda.use_mem_pool(pool)
    return context


def _from_file(path: Path) -> Context:
    """torch.zeros yields consecutive, page-aligned parts of the file, which is as new."""
    import torch
    from torch.overrides import TorchFunctionMode

    class FromFile(TorchFunctionMode):  # type: ignore[misc]
        used = 0

        def __torch_function__(self, function: Any, _types: Any, arguments: Any, keywords: Any = None) -> Any:
            if function is not torch.zeros:
                return function(*arguments, **(keywords or {}))
            wanted = function(*arguments, **{**(keywords or {}), "device": "meta"})
            start, self.used = self.used, _aligned(self.used + wanted.nbytes)
            whole = torch.from_file(str(path), shared=True, size=start + wanted.nbytes, dtype=torch.uint8)
            return whole[start:].view(wanted.dtype).view(wanted.shape)

    return FromFile()


def _aligned(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT
