"""The pool's side of the pool table, for tests without a GPU."""

from __future__ import annotations

import mmap
from array import array
from collections.abc import Iterable
from pathlib import Path

EPOCH, SEEN, WORDS = 16, 17, 32  # indexes of 32-bit words
BACKED, LOST = 1, 2


class Pool:
    """Every page is backed at first. Each change is told at once."""

    def __init__(self, path: Path, page_bytes: int, pages: int) -> None:
        self.path, self.pages = path, pages
        header = b"VLVPOOL1" + array("I", [1, page_bytes, pages]).tobytes()
        path.write_bytes(
            header.ljust(WORDS * 4, b"\0") + array("I", [BACKED] * pages + [0] * pages).tobytes()
        )
        with path.open("r+b") as file:
            self._words = memoryview(mmap.mmap(file.fileno(), 0)).cast("I")

    @property
    def backed(self) -> set[int]:
        return {page for page in range(self.pages) if self._words[WORDS + page] & BACKED}

    @property
    def costs(self) -> list[int]:
        return list(self._words[WORDS + self.pages :])

    @property
    def seen(self) -> bool:
        """Whether the engine has applied all that was told."""
        return self._words[SEEN] == self._words[EPOCH]

    def lose(self, pages: Iterable[int]) -> None:
        for page in pages:
            self._words[WORDS + page] = (self._words[WORDS + page] & ~BACKED) + LOST
        self._words[EPOCH] += 1

    def back(self, pages: Iterable[int]) -> None:
        for page in pages:
            self._words[WORDS + page] |= BACKED
        self._words[EPOCH] += 1

    def withdraw(self, pages: Iterable[int]) -> None:
        for page in pages:
            self._words[WORDS + page] &= ~BACKED
        self._words[EPOCH] += 1
