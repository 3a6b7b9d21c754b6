"""Plays the native pool where there is no GPU: a pool table, and a file that is the engine's KV memory.

What is taken away is really overwritten, with random float32 numbers. Finite ones, since all that an engine
ever finds on a lost page of a real pool is zeros, then what its own steps under way wrote there: a NaN would
spread to blocks that are sound, for kernels multiply what is masked by zero.
"""

from __future__ import annotations

import mmap
import os
import struct
from array import array
from collections.abc import Iterable
from pathlib import Path

HEADER = struct.Struct("=8sIII")
EPOCH, SEEN, WANTED, WORDS = 16, 17, 18, 32  # indexes of 32-bit words
BACKED, LOST = 1, 2


class PlayedPool:
    """`folder`: on tmpfs, for it holds the KV memory. Every page is backed at first."""

    def __init__(self, folder: Path, page_bytes: int, pages: int) -> None:
        self.page_bytes, self.pages = page_bytes, pages
        self.table, self.memory = folder / "table", folder / "memory"
        words = array("I", [BACKED] * pages + [0] * pages)
        header = HEADER.pack(b"VLVPOOL1", 1, page_bytes, pages)
        self.table.write_bytes(header.ljust(WORDS * 4, b"\0") + words.tobytes())
        self.memory.write_bytes(b"")
        os.truncate(self.memory, page_bytes * pages)
        self._words = memoryview(_mapped(self.table)).cast("I")
        self._bytes = _mapped(self.memory)

    @property
    def environment(self) -> dict[str, str]:
        return {"VALVE_POOL": str(self.table), "VALVE_POOL_MEMORY": str(self.memory)}

    @property
    def costs(self) -> list[int]:
        """The engine's word, by page."""
        return list(self._words[WORDS + self.pages : WORDS + 2 * self.pages])

    @property
    def backed(self) -> set[int]:
        return {page for page in range(self.pages) if self._words[WORDS + page] & BACKED}

    @property
    def seen(self) -> bool:
        """Whether the engine has applied all that was told."""
        return self._words[SEEN] == self._words[EPOCH]

    @property
    def wanted(self) -> int:
        return self._words[WANTED]

    def lose(self, pages: Iterable[int]) -> None:
        """Takes them away. The engine must be stopped."""
        for page in pages:
            self._fill(page, garbage(self.page_bytes))
            self._words[WORDS + page] = (self._words[WORDS + page] & ~BACKED) + LOST

    def back(self, pages: Iterable[int]) -> None:
        """Lends them again, cleared; what is backed already is left as it is."""
        for page in set(pages) - self.backed:
            self._fill(page, bytes(self.page_bytes))
            self._words[WORDS + page] |= BACKED

    def withdraw(self, pages: Iterable[int]) -> None:
        """Asks for them: what is in them stays until they are taken."""
        for page in pages:
            self._words[WORDS + page] &= ~BACKED

    def tell(self) -> None:
        """After changes, before the engine goes on."""
        self._words[EPOCH] += 1

    def used(self) -> set[int]:
        """The pages that are not all zeros: what an engine has written to, or what was lost."""
        nothing = bytes(self.page_bytes)
        return {page for page in range(self.pages) if self._bytes[self._part(page)] != nothing}

    def _fill(self, page: int, content: bytes) -> None:
        self._bytes[self._part(page)] = content

    def _part(self, page: int) -> slice:
        return slice(page * self.page_bytes, (page + 1) * self.page_bytes)


def garbage(size: int) -> bytes:
    """Random float32 numbers between -8 and 8."""
    return array("f", [(byte - 128) / 16 for byte in os.urandom(size // 4)]).tobytes()


def _mapped(path: Path) -> mmap.mmap:
    with path.open("r+b") as file:
        return mmap.mmap(file.fileno(), 0)
