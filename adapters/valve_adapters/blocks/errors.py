"""Everything that the leased block pool raises on purpose."""

from __future__ import annotations


class BlocksError(Exception):
    """Names the thing and the mend, in one line for a person."""


class TableError(BlocksError):
    """The pool table cannot be used (missing, truncated, another version)."""


class LayoutError(BlocksError):
    """The engine's KV memory does not fit the pool, or lies in it in a way that is not known."""


class UnsupportedError(BlocksError):
    """The engine is set up in a way in which it cannot lose blocks safely."""


class CooperationError(BlocksError):
    """The engine does not let go of its memory, or does not go on; tells what it answered."""
