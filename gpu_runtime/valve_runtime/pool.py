"""The pool table: what a KV pool tells its engine, and the engine its pool.

native/include/valve/pool.h is the manual. The real writer of the words is the pool in the preload shim;
`lose` and `back` stand for it where there is no GPU.
"""

from __future__ import annotations

import mmap
import os
from pathlib import Path
from types import TracebackType
from typing import Self

from . import native
from .errors import SegmentError

MAGIC = 0x314C4F4F50564C56
VERSION = 1
WORDS_OFFSET = 128
BACKED = 1
LOST = 2
_EPOCH, _SEEN, _WANTED = 16, 17, 18  # indexes of words


class PoolTable:
    """A mapped pool table; `words` and `costs`, one each per page, are live. Closes itself as context
    manager.
    """

    def __init__(self, path: Path, pages: int, memory: mmap.mmap) -> None:
        self.path, self.pages, self._memory = path, pages, memory
        self._all = memoryview(memory).cast("I")
        first = WORDS_OFFSET // 4
        self.words = self._all[first : first + pages]
        self.costs = self._all[first + pages : first + 2 * pages]

    @classmethod
    def make(cls, path: Path, pages: int) -> Self:
        """Makes the file, with no page backed. Raises SegmentError (it exists, no space)."""
        error = native.library().pool_table_make(os.fsencode(path), pages)
        if error < 0:
            raise SegmentError(f"cannot make the pool table {path} for {pages} pages: {os.strerror(-error)}")
        return cls.open(path)

    @classmethod
    def open(cls, path: Path) -> Self:
        """Raises SegmentError if there is none or it is not one of ours."""
        try:
            with path.open("r+b") as file:
                memory = mmap.mmap(file.fileno(), 0)
        except (OSError, ValueError) as error:
            raise SegmentError(f"cannot use the pool table {path}: {error}") from error
        head = native.PoolHead.from_buffer_copy(memory[:WORDS_OFFSET].ljust(WORDS_OFFSET, b"\0"))
        whole = len(memory) == WORDS_OFFSET + 8 * head.pages
        if (head.magic, head.version, head.page_bytes) != (MAGIC, VERSION, native.PAGE_BYTES) or not whole:
            memory.close()
            raise SegmentError(f"{path} is no pool table of this version of Valve")
        return cls(path, head.pages, memory)

    def close(self) -> None:
        for view in (self.words, self.costs, self._all):
            view.release()
        self._memory.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def epoch(self) -> int:
        """Changes whenever words have; 32 bits, wraps."""
        return self._all[_EPOCH]

    @property
    def backed(self) -> int:
        """Pages that may be used now."""
        return sum(word & BACKED for word in self.words)

    @property
    def wanted(self) -> int:
        """Pages that the engine says it would use."""
        return self._all[_WANTED]

    def say(self, *, seen: int, wanted: int) -> None:
        """The engine's word: the epoch that it has acted upon (its costs being written), and its demand."""
        self._all[_WANTED] = wanted
        self._all[_SEEN] = seen

    def back(self, *pages: int) -> None:
        """For where there is no GPU: these may be used from now on."""
        for page in pages:
            self.words[page] |= BACKED
        self._tell()

    def lose(self, *pages: int) -> None:
        """For where there is no GPU: what was in these is lost."""
        for page in pages:
            self.words[page] = ((self.words[page] & ~BACKED) + LOST) & 0xFFFFFFFF
        self._tell()

    def _tell(self) -> None:
        self._all[_EPOCH] = (self._all[_EPOCH] + 1) & 0xFFFFFFFF
