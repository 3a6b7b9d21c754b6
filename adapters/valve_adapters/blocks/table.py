"""Owns the mapping of the pool table: what the pool tells its engine of every page, and the engine the pool
(docs/adr/0011-memory-is-leased-by-the-page.md).
"""

from __future__ import annotations

import mmap
import os
import struct
from array import array
from pathlib import Path

from .errors import TableError
from .words import WORD_BYTES

VARIABLE = "VALVE_POOL"
ROLE = "VALVE_POOL_ROLE"
MAGIC = b"VLVPOOL1"
VERSION = 1
HEADER = struct.Struct("=8sIII")  # magic, layout version, bytes of a page, number of pages
EPOCH_AT, SEEN_AT, WANTED_AT, WORDS_AT = 64, 68, 72, 128
MOST = 0xFFFFFFFF
_U32 = struct.Struct("=I")


class PoolTable:
    """`page_bytes`, `pages`: the size of the pool's range of addresses, which never changes."""

    def __init__(self, path: Path) -> None:
        """Raises TableError."""
        try:
            with path.open("r+b") as file:
                self._map = mmap.mmap(file.fileno(), 0)
        except (OSError, ValueError) as error:
            raise TableError(f"cannot map the pool table {path}: {error}") from error
        self.page_bytes, self.pages = _read_header(self._map, path)
        self._costs_at = WORDS_AT + self.pages * WORD_BYTES

    @property
    def epoch(self) -> int:
        """Bumped after words have changed, before kernels run again."""
        return self._get(EPOCH_AT)

    def words(self) -> bytes:
        """The words of all pages now."""
        return self._map[WORDS_AT : self._costs_at]

    def tell(self, epoch: int, costs: array[int]) -> None:
        """`costs`: by page, in tokens to recompute, after the words of `epoch` have been applied."""
        self._map[self._costs_at : self._costs_at + self.pages * WORD_BYTES] = costs.tobytes()
        self._put(SEEN_AT, epoch)

    def want(self, pages: int) -> None:
        """That so many should be backed."""
        self._put(WANTED_AT, min(pages, self.pages))

    def _get(self, at: int) -> int:
        value: int = _U32.unpack_from(self._map, at)[0]
        return value

    def _put(self, at: int, value: int) -> None:
        _U32.pack_into(self._map, at, value)


def is_leased() -> bool:
    """Whether `valve run --kv-pool` has started this process."""
    return bool(os.environ.get(VARIABLE))


def is_online() -> bool:
    """Whether the pool's pages come and are asked for, rather than go."""
    return os.environ.get(ROLE) == "online"


def table_of_environment() -> PoolTable:
    """The table that `valve run --kv-pool` has made. Raises TableError."""
    if not is_leased():
        raise TableError(f"{VARIABLE} is not set: start the engine with `valve run --kv-pool SIZE`")
    return PoolTable(Path(os.environ[VARIABLE]))


def _read_header(file: mmap.mmap, path: Path) -> tuple[int, int]:
    """(bytes of a page, number of pages). Raises TableError."""
    if len(file) < WORDS_AT:
        raise TableError(f"the pool table {path} is truncated")
    magic, version, page_bytes, pages = HEADER.unpack_from(file)
    if magic != MAGIC or version != VERSION:
        raise TableError(
            f"{path} is no pool table of version {VERSION}: `valve run` and the engine's plug-in must be of "
            "the same version of Valve"
        )
    if not page_bytes or len(file) < WORDS_AT + 2 * pages * WORD_BYTES:
        raise TableError(f"the pool table {path} is truncated")
    return page_bytes, pages
