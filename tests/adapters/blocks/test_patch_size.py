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
BLOCKS = """
    Chain EngineBlocks LayoutError LeasedScheduler LeasedSlots TableError UnsupportedError
    WAITING_LOOKED_AT chains held hold give_back indexes install is_online landing launching leases
    lifting memory open_leases parts pool_memory preempt refuse refuse_set refuse_unless resumes row
    sync table tensors waiting_blocks within without wrapping
"""
LIBRARY = """
    AbstractContextManager Any __future__ __name__ annotations append contextlib islice items
    itertools monotonic remove time typing values
"""
VARIABLES = """
    HOOKS _ _allocate _blocks _forget _land _leased _memory _requests _schedule arguments batch
    batches blocks buffers create each hook index keywords leased leased_slots leave length like
    look own part places pool process r request requests result retracted schedule scheduler self
    slots target told worker
"""
OURS = {*BLOCKS.split(), *LIBRARY.split(), *VARIABLES.split()}
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
