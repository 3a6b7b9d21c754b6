"""What the leased block pool does with tensors, for engines that keep their block lists in some. torch is the
engine's own.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Sequence
from typing import Any

from .memory import SHIM


def parts(buffers: Sequence[Any]) -> list[tuple[int, int, int, int]]:
    """As layout.strips takes them: each buffer's rows are one part of every block."""
    strides = [buffer.stride(0) * buffer.element_size() for buffer in buffers]
    return [
        (_offset(each), stride * len(each), stride, 1) for each, stride in zip(buffers, strides, strict=True)
    ]


def row(table: Any, index: int, length: int) -> Callable[[], list[list[int]]]:
    """The first numbers of a row, when called."""
    return lambda: [table[index, :length].tolist() if length else []]


def without(numbers: Any, taken: Sequence[int]) -> Any:
    """`numbers`, in their order, but for `taken`."""
    import torch

    return numbers[~torch.isin(numbers, indexes(taken, like=numbers))]


def indexes(numbers: Sequence[int], like: Any) -> Any:
    """A tensor of them, of the kind of `like`."""
    return like.new_tensor(numbers)


def _offset(buffer: Any) -> int:
    """Bytes from the pool's beginning. On the CPU each allocation is mapped from there (memory.py)."""
    if shim := os.environ.get(SHIM):
        base = ctypes.CDLL(shim).vlv_pool_base
        base.restype = ctypes.c_void_p
        return int(buffer.data_ptr() - base())
    return int(buffer.data_ptr() - buffer.untyped_storage().data_ptr())
