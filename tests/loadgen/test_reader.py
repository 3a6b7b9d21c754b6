"""Many sockets by one poll: what is readable is called, what is closed is not, a nap never lasts too long."""

import asyncio
import socket
import time

import pytest

from valve_loadgen import reader as readers
from valve_loadgen.reader import Reader


async def test_a_readable_socket_is_called_until_it_is_removed() -> None:
    ours, theirs = socket.socketpair()
    reader, called = Reader(), asyncio.Event()

    def read() -> None:
        ours.recv(10)
        called.set()

    reader.add(ours, read)
    theirs.send(b"x")
    await called.wait()
    called.clear()
    reader.remove(ours)
    reader.remove(ours)
    theirs.send(b"y")
    await asyncio.sleep(0.01)
    assert not called.is_set()
    reader.close()
    ours.close()
    theirs.close()


async def test_a_socket_closed_by_one_before_is_left_alone() -> None:
    pairs = [socket.socketpair() for _ in range(2)]
    reader, calls = Reader(), []

    def close_both() -> None:
        calls.append(1)
        for ours, _theirs in pairs:
            reader.remove(ours)

    for ours, theirs in pairs:
        reader.add(ours, close_both)
        theirs.send(b"x")
    while not calls:  # noqa: ASYNC110
        await asyncio.sleep(0.001)
    await asyncio.sleep(0.01)
    assert calls == [1]
    reader.close()
    for pair in pairs:
        for end in pair:
            end.close()


async def test_nothing_is_read_while_something_is_to_be_sent() -> None:
    ours, theirs = socket.socketpair()
    reader, called = Reader(), asyncio.Event()
    reader.busy_at_ns = time.monotonic_ns()
    reader.add(ours, lambda: (ours.recv(10), called.set()))
    theirs.send(b"x")
    await asyncio.sleep(0.02)
    assert not called.is_set()
    reader.busy_at_ns = readers.NEVER_NS
    await called.wait()
    reader.close()
    ours.close()
    theirs.close()


@pytest.mark.parametrize(("busy_in_ns", "nap_s"), [(1 << 62, 0.15), (10_000_000, 0.01), (0, None)])
async def test_a_nap_ends_before_the_loop_is_busy(
    busy_in_ns: int, nap_s: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    naps: list[float] = []
    monkeypatch.setattr(readers.time, "sleep", naps.append)
    monkeypatch.setattr(readers, "NAP_NS", 150_000_000)
    monkeypatch.setattr(readers.time, "monotonic_ns", lambda: 5_000_000_000)
    reader = Reader()
    reader._drain()  # the first has nothing to wait for
    reader.busy_at_ns = time.monotonic_ns() + busy_in_ns
    naps.clear()
    reader._drain()
    assert naps == ([pytest.approx(nap_s)] if nap_s else [])
    reader.close()
