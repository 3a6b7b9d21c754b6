"""A sidecar without file descriptors: what runs goes on, who comes waits, nothing spins, all is counted."""

import resource
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import orjson
import pytest

from .stage import DEADLINE_S, Request, Sidecar, Stage, wait_until

pytestmark = pytest.mark.integration

POST = b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}"
CLIENTS = 12
SPARE = 5


class Crowd:
    """Clients that connect and say nothing, until they are told to."""

    def __init__(self, base: str, count: int) -> None:
        host, port = base.removeprefix("http://").split(":")
        self.sockets = [socket.create_connection((host, int(port)), DEADLINE_S) for _ in range(count)]

    def close(self) -> None:
        for each in self.sockets:
            each.close()


class Exhausted:
    """A sidecar with a running request, and then as many clients as it has no descriptors for."""

    def __init__(self, stage: Stage) -> None:
        self.sidecar = stage.sidecar("--data-plane", "native")
        self.admin = httpx.Client(base_url=self.sidecar.admin)  # a connection that is there already
        self.running = Request(self.sidecar.listen, "r-1")
        self.running.wait_first_token()
        self.admin.get("/state")
        allow(self.sidecar, SPARE)
        self.crowd = Crowd(self.sidecar.listen, CLIENTS)
        wait_until(self.errors, "it runs out")

    def errors(self) -> int:
        counters = self.admin.get("/state").json()["counters"]
        return int(counters["errors"].get("out_of_descriptors", 0))

    def close(self) -> None:
        self.crowd.close()
        self.admin.close()


def allow(sidecar: Sidecar, more: int) -> None:
    """So many descriptors more than it has now."""
    open_now = {int(entry.name) for entry in Path(f"/proc/{sidecar.process.pid}/fd").iterdir()}
    free = [fd for fd in range(max(open_now) + more + 2) if fd not in open_now][:more]
    limit = free[-1] + 1  # the limit is one of numbers, not of how many there are
    resource.prlimit(sidecar.process.pid, resource.RLIMIT_NOFILE, (limit, limit))


@pytest.fixture
def exhausted(stage: Stage) -> Iterator[Exhausted]:
    exhausted = Exhausted(stage)
    yield exhausted
    exhausted.close()


def test_nobody_is_lost_and_nothing_spins(stage: Stage, exhausted: Exhausted) -> None:
    before, since_s = exhausted.errors(), time.monotonic()
    time.sleep(0.5)
    assert exhausted.errors() - before <= (time.monotonic() - since_s) / 0.1 + 1, "one try each 100 ms"
    stage.engine.release.set()
    exhausted.running.wait_done()
    for each in exhausted.crowd.sockets[:8]:
        each.close()
    last = exhausted.crowd.sockets[-1]  # it has waited since before
    last.settimeout(DEADLINE_S)
    last.sendall(POST)
    answer = b""
    while b"[DONE]" not in answer:
        got = last.recv(65_536)
        assert got, answer
        answer += got
    assert answer.startswith(b"HTTP/1.1 200 ")


def test_a_request_without_a_connection_to_the_engine_is_told_why(stage: Stage, exhausted: Exhausted) -> None:
    first = exhausted.crowd.sockets[0]
    first.settimeout(DEADLINE_S)
    first.sendall(POST)
    head, _, body = first.recv(65_536).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 503 ")
    error = orjson.loads(body)["error"]
    assert error["code"] == "out_of_descriptors"
    assert "ulimit -n" in error["message"]
    stage.engine.release.set()
    exhausted.running.wait_done()
