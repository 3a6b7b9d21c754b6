"""Clients that are slow on purpose: a head that does not end is cut off, a body holds up nobody else."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from .conftest import Stage
from .planes import builder
from .wire import Peer

SHORT_S = 0.2  # where being cut off is all that is waited for
LONG_S = 2.0  # where a request has to get through before
DRIP_S = 0.02
POST = b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


@pytest.fixture
def idle_timeout_s(request: pytest.FixtureRequest) -> float:
    return float(request.param)


@pytest.fixture
def impatient(plane: str, idle_timeout_s: float, tmp_path: Path) -> Iterator[Stage]:
    """A data plane that gives a head so little time."""
    stage = Stage(builder(plane, idle_timeout_s=idle_timeout_s), tmp_path)
    yield stage
    stage.close()


def drip(client: Peer, patience_s: float = 20) -> bool:
    """A byte of a field that never ends, again and again. Whether the connection was cut."""
    end = time.monotonic() + patience_s
    while time.monotonic() < end:
        try:
            client.send(b"y")
        except ConnectionError:
            return True
        time.sleep(DRIP_S)
    return False


@pytest.mark.parametrize("idle_timeout_s", [SHORT_S], indirect=True)
def test_a_head_that_drips_in_for_ever_is_cut_off(impatient: Stage) -> None:
    client = impatient.client(b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nX: ")
    assert drip(client)
    assert not impatient.engine.was_reached()
    assert impatient.record.heads == [], "nothing arrived, nothing was preempted"


@pytest.mark.parametrize("idle_timeout_s", [LONG_S], indirect=True)
def test_so_is_one_behind_a_served_request(impatient: Stage) -> None:
    client = impatient.client(POST + b"abc")
    engine, _ = impatient.accept_request()
    engine.send(OK)
    assert client.read_head().status == 200
    client.send(b"GET / HTTP/1.1\r\nX: ")
    assert drip(client)
    assert len(impatient.record.heads) == 1


@pytest.mark.parametrize("idle_timeout_s", [SHORT_S], indirect=True)
def test_who_says_nothing_is_cut_off(impatient: Stage) -> None:
    assert impatient.client().sees_close()


@pytest.mark.parametrize("idle_timeout_s", [LONG_S], indirect=True)
def test_an_exchange_that_takes_longer_is_not(impatient: Stage) -> None:
    client = impatient.client(POST)
    engine = impatient.accept()
    engine.read_head()
    time.sleep(1.5 * LONG_S)
    client.send(b"abc")
    assert engine.read(3) == b"abc"
    engine.send(OK)
    assert client.read_head().status == 200


def test_slow_heads_hold_up_nobody_else(stage: Stage) -> None:
    slow = [stage.client(b"POST /v1/completions HTTP/1.1\r\nX: ") for _ in range(100)]
    client = stage.client(POST + b"abc")
    engine, got = stage.accept_request()
    assert got.body == b"abc"
    engine.send(OK)
    assert client.read_head().status == 200
    assert all(each.is_silent() for each in slow)
