"""How much of each plug-in is the engine's: every line that imports or names anything of the engine's is
counted. A name is the engine's unless it is Python's, the standard library's or our own.
"""

from __future__ import annotations

import builtins
import io
import keyword
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

from valve_adapters import blocks

FOLDER = Path(blocks.__path__[0])
MOST = 20
OURS = {
    # of valve_adapters.blocks
    *("Chain", "EngineBlocks", "LeasedScheduler", "UnsupportedError", "TableError", "LayoutError"),
    *("landing", "launching", "lifting", "refuse", "refuse_set", "within", "open_leases", "pool_memory"),
    *("leases", "memory", "wrapping", "chains", "preempt", "waiting_blocks", "install", "WAITING_LOOKED_AT"),
    # of the standard library
    *("annotations", "Any", "typing", "time", "monotonic", "contextlib", "AbstractContextManager"),
    *("itertools", "islice", "remove", "__future__", "__name__"),
    # our own variables
    *("self", "arguments", "keywords", "own", "parts", "part", "pool", "blocks", "request", "requests"),
    *("worker", "scheduler", "r", "_memory"),
    # of blocks/sglang.py
    *("tensors", "indexes", "parts", "row", "without", "refuse_unless", "LeasedSlots", "look", "leave"),
    *(
        "hold",
        "give_back",
        "install",
        "_allocate",
        "_schedule",
        "_land",
        "_leased",
        "_forget",
        "_blocks",
        "_requests",
        "found",
        "_",
    ),
    *("told", "buffers", "batches", "batch", "retracted", "held", "places", "table", "index", "length"),
    *("each", "like", "target", "hook", "HOOKS", "create", "schedule", "process", "result", "leased", "sync"),
    *("leased_slots", "slots", "resumes", "append", "items", "values", "finally"),
}
PYTHON = {*keyword.kwlist, *dir(builtins), "__init__"}


def lines_of_the_engine(source: str) -> dict[int, set[str]]:
    """By line, the names on it that are neither ours nor Python's; in strings of code, too."""
    found: dict[int, set[str]] = {}
    for number, name in names(source):
        if name not in OURS | PYTHON:
            found.setdefault(number, set()).add(name)
    return found


def names(source: str) -> Iterator[tuple[int, str]]:
    """(line, name) of every identifier, and of every string that looks like one."""
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        text = token.string.strip("\"'")
        if token.type == tokenize.NAME or (token.type == tokenize.STRING and _is_path(text)):
            yield token.start[0], text


def _is_path(text: str) -> bool:
    return all(part.isidentifier() for part in text.split("."))


@pytest.mark.parametrize("engine", ["sglang", "vllm"])
def test_the_patch_is_small(engine: str) -> None:
    found = lines_of_the_engine((FOLDER / f"{engine}.py").read_text())
    assert len(found) <= MOST, found


SOURCE = """from vllm import x

def install():
    self.running
    refuse_set(self, 'a_field')
    return None
"""


def test_what_counts() -> None:
    assert sorted(lines_of_the_engine(SOURCE)) == [1, 4, 5]
