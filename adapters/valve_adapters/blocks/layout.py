"""Which pages a block lies on, and which blocks lie on a page: arithmetic, for any engine. No I/O."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from .errors import LayoutError


@dataclass(frozen=True, slots=True)
class Strip:
    """One part of every block: `bytes` bytes at `offset` + block x `bytes` in the pool."""

    offset: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Layout:
    """`blocks` blocks in strips over `pages` pages. Block-outermost KV is one strip, layer-outermost one for
    each layer. A block may be smaller than a page, larger, or lie across two.
    """

    page_bytes: int
    pages: int
    blocks: int
    strips: tuple[Strip, ...]

    def __post_init__(self) -> None:
        """Raises LayoutError."""
        ends = [strip.offset + strip.bytes * self.blocks for strip in self.strips]
        starts = [strip.offset for strip in self.strips]
        if not ends or max(ends) > self.page_bytes * self.pages:
            size = max(ends, default=0)
            raise LayoutError(
                f"KV memory of {size} bytes does not fit the pool of {self.page_bytes * self.pages} bytes"
            )
        if any(end > start for end, start in zip(sorted(ends), sorted(starts)[1:], strict=False)):
            raise LayoutError("blocks overlap in the engine's KV memory: its layout is not known")

    def pages_of(self, block: int) -> list[int]:
        """Ascending."""
        found: set[int] = set()
        for strip in self.strips:
            start = strip.offset + block * strip.bytes
            found.update(range(start // self.page_bytes, (start + strip.bytes - 1) // self.page_bytes + 1))
        return sorted(found)

    def blocks_of(self, page: int) -> list[int]:
        """Ascending. None for a page behind the engine's KV memory."""
        start, end = page * self.page_bytes, (page + 1) * self.page_bytes
        found: set[int] = set()
        for strip in self.strips:
            first = max(0, (start - strip.offset) // strip.bytes)
            last = min(self.blocks - 1, (end - 1 - strip.offset) // strip.bytes)
            found.update(range(first, last + 1))
        return sorted(found)

    def blocks_of_all(self, pages: Iterable[int]) -> set[int]:
        return {block for page in pages for block in self.blocks_of(page)}


def strips(parts: Iterable[tuple[int, int, int, int]], blocks: int) -> tuple[Strip, ...]:
    """From (offset, bytes from layer to layer, bytes from block to block, layers) of each set of layers.

    Raises LayoutError.
    """
    found: set[Strip] = set()
    for offset, layer_stride, block_stride, layers in parts:
        if layer_stride < block_stride:  # a block holds all its layers, of every set
            found.add(Strip(0, block_stride))
        elif layer_stride == block_stride * blocks or layers == 1:
            found.update(Strip(offset + layer * layer_stride, block_stride) for layer in range(layers))
        else:
            raise LayoutError("a block's heads lie apart in the engine's KV memory: its layout is not known")
    return tuple(sorted(found, key=lambda strip: strip.offset))
