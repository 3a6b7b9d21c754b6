"""Addresses, and reading the sidecar's events page by page."""

import os
import re
import sys
from pathlib import Path

import pytest

from valve_loadgen import lab as labs
from valve_loadgen.engines import Engine
from valve_loadgen.errors import BenchError
from valve_loadgen.lab import SERVING, healthy, opened_lab
from valve_loadgen.target import Target


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("http://127.0.0.1:8000", Target("127.0.0.1", 8000)),
        ("127.0.0.1:8780", Target("127.0.0.1", 8780)),
        ("http://[::1]:80", Target("::1", 80)),
        ("unix:/run/x.sock", Target(path="/run/x.sock")),
        ("http://x", Target("x", 80)),
        ("https://api.example/v1", Target("api.example", 443, tls=True)),
        ("http://x:8000/llm/v1/", Target("x", 8000, base="/llm")),
    ],
)
def test_addresses(text: str, target: Target) -> None:
    assert Target.parse(text) == target


@pytest.mark.parametrize("text", ["", "localhost", "http://x:port", "http://x:99999"])
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(BenchError, match="is not an address"):
        Target.parse(text)


def test_the_line_that_tells_where_the_sidecar_serves() -> None:
    line = "valve: serving on 127.0.0.1:43210 for http://127.0.0.1:8000 (mode enforce, admin unix:/x)"
    found = SERVING.search(line)
    assert found
    assert Target.parse(found[1]) == Target("127.0.0.1", 43210)


def constant(port: int, _threads: int, _cores: str) -> list[str]:
    return [sys.executable, "-m", "valve_loadgen.constant_engine", "--port", str(port)]


def children(pid: int) -> list[tuple[int, int]]:
    """(nice, session) of a process's children, by age."""
    pids = map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
    return [(os.getpriority(os.PRIO_PROCESS, each), os.getsid(each)) for each in pids]


async def test_engines_of_one_session_start_and_end_together(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Engine("constant", constant, "/health", "/", re.compile(b"x"))
    monkeypatch.setattr(labs, "ENGINES", {"constant": engine})
    with opened_lab() as lab:
        members = [("constant", ()), ("constant", ("nice", "-n", "19"))]
        targets = await lab.start_together("online", members)
        assert [await healthy(target) for target in targets] == [True, True]
        (session,) = lab.processes._children
        sid = session.process.pid
        assert children(sid) == [(0, sid), (19, sid)]
    for target in targets:
        with pytest.raises(BenchError):
            await healthy(target)
