"""Whatever a page tells to type is there: options of `valve`, targets of make, modules, scripts, programs.

Those of the pages for users are run besides: documented.py says by whom.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.documented import ROOT

from valve_sidecar import cli

PAGES = [
    *ROOT.glob("*.md"),
    *(page for page in (ROOT / "docs").rglob("*.md") if not {"adr", "results"} & set(page.parts)),
    *(ROOT / "deploy").rglob("*.md"),
    ROOT / "tests" / "gpu" / "README.md",
]
BLOCK = re.compile(r"^```sh[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
ANY_BLOCK = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
MENTION = re.compile(r"`((?:valve|make|python3? -m|bash|build/native/native/\w+)(?: [^`\n]+)?)`")
TARGETS = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
PROGRAMS = {source.stem for source in (ROOT / "native").rglob("*.c")}
INCOMPLETE = re.compile(r"required|expected (one|at least one) argument")


def typed(page: Path) -> Iterator[list[str]]:
    """The commands in a page's shell blocks, as words."""
    for block in BLOCK.findall(page.read_text()):
        for line in block.replace("\\\n", " ").splitlines():
            yield from simple_commands(line)


def mentioned(page: Path) -> Iterator[list[str]]:
    """Those in running text; they may leave out what they need."""
    for text in MENTION.findall(ANY_BLOCK.sub("", page.read_text())):
        yield from simple_commands(text)


def simple_commands(line: str) -> Iterator[list[str]]:
    """Of one that is joined by pipes and so on; without variables before it."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    words: list[str] = []
    for word in [*lexer, ";"]:
        if word.strip("&|;()<>"):
            words.append(word)
        elif words:
            yield words
            words = []


def complaint(arguments: list[str]) -> str:
    """What `valve` says of them without doing anything; empty: nothing."""
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
            cli._parser(arguments[0] if arguments else "").parse_args(arguments)
    except SystemExit as end:
        return said.getvalue() if end.code else ""
    return ""


def problem(words: list[str]) -> str:
    """Why nobody could type that; empty for what is not ours to judge."""
    program, rest = words[0], words[1:]
    if program == "valve":
        return complaint(rest)
    if program == "make":
        return "".join(f"no target {word}" for word in rest if "=" not in word and word not in TARGETS)
    if rest[:1] == ["-m"] and rest[1].startswith("valve_"):
        return "" if importlib.util.find_spec(rest[1]) else f"no module {rest[1]}"
    return no_such_file(program, rest)


def no_such_file(program: str, rest: list[str]) -> str:
    if program.startswith("build/"):
        return "" if Path(program).name in PROGRAMS else f"{program} is not built"
    scripts = [word for word in rest[:1] if program in ("bash", "python", "python3") and "/" in word]
    return "".join(f"no file {script}" for script in scripts if not (ROOT / script).exists())


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_what_is_to_be_typed_is_there(page: Path) -> None:
    assert [(words, told) for words in typed(page) if (told := problem(words))] == []
    lacking = [(words, problem(words)) for words in mentioned(page)]
    assert [(words, told) for words, told in lacking if told and not INCOMPLETE.search(told)] == []


def test_it_finds_what_is_not_there() -> None:
    assert "unrecognized arguments: --polcy" in problem(["valve", "serve", "--polcy", "budget"])
    assert "invalid choice" in problem(["valve", "srve"])
    assert problem(["make", "tset"]) == "no target tset"
    assert problem(["python", "-m", "valve_loadgen.sok"]) == "no module valve_loadgen.sok"
    assert problem(["bash", "tests/gpu/rn.sh"]) == "no file tests/gpu/rn.sh"
    assert list(simple_commands("a 'b | c' | d && e > f & # g")) == [["a", "b | c"], ["d"], ["e"], ["f"]]
