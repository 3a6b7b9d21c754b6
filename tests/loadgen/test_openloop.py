"""Cancels, storms and conversations in the open loop, against scripted servers."""

import asyncio
import time

import orjson

from valve_loadgen.arrivals import Planned, Turn
from valve_loadgen.client import Client
from valve_loadgen.completions import Ask
from valve_loadgen.conversation import follow
from valve_loadgen.openloop import OpenLoop
from valve_loadgen.workers import Sending, send_here

from .scripted import DONE, END, FINISH, TOKEN, scripted, stream_head, usage

REST = (FINISH, DONE, END)
SLOW = (stream_head(), TOKEN, 30.0)
QUICK = (stream_head(), TOKEN, TOKEN, usage(2), *REST)


async def test_a_planned_cancel_drops_the_connection_and_keeps_what_came() -> None:
    async with scripted(SLOW) as server:
        client = Client(server.target)
        loop = OpenLoop(client, time.monotonic_ns(), "t-")
        loop.add(Planned("a", 0, "x", 5, cancel_after_ns=100_000_000))
        (exchange,) = await loop.run()
        client.close()
    assert exchange.cancelled
    assert not exchange.ok
    assert len(exchange.token_ns) == 1
    assert exchange.done_ns > exchange.head_ns


async def test_a_storm_drops_everything_in_flight() -> None:
    async with scripted(SLOW) as server:
        client = Client(server.target)
        loop = OpenLoop(client, time.monotonic_ns(), "t-")
        for i in range(5):
            loop.add(Planned(f"r{i}", i * 1_000_000, "x", 5))
        running = asyncio.create_task(loop.run())
        while len(server.requests) < 5:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        client.drop_all()
        exchanges = await running
        client.close()
    assert [exchange.cancelled for exchange in exchanges] == [True] * 5


async def test_storms_come_when_planned() -> None:
    """Nothing else would end these requests before their script does."""
    async with scripted(SLOW) as server, asyncio.timeout(25):
        sending = Sending(server.target, Ask(), storms_ns=(300_000_000, 3_000_000_000))
        sent = await send_here([Planned("a", 0, "x", 5)], sending, time.monotonic_ns())
    assert sent.exchanges[0].cancelled


async def test_a_cancel_of_an_answered_request_does_nothing() -> None:
    async with scripted(QUICK) as server:
        client = Client(server.target)
        loop = OpenLoop(client, time.monotonic_ns(), "t-")
        loop.add(Planned("a", 0, "x", 2, cancel_after_ns=50_000_000))
        loop.add(Planned("b", 150_000_000, "x", 2))
        exchanges = await loop.run()
        client.close()
    assert [(exchange.ok, exchange.cancelled) for exchange in exchanges] == [(True, False)] * 2


async def test_a_conversation_carries_its_history() -> None:
    turns = (Turn("a.1", "second", 2, 10_000_000), Turn("a.2", "third", 2, 10_000_000))
    async with scripted(QUICK) as server:
        client = Client(server.target)
        loop = OpenLoop(client, time.monotonic_ns(), "t-", Ask().request, follow)
        loop.add(Planned("a", 0, "first", 2, turns=turns))
        exchanges = await loop.run()
        client.close()
    assert [exchange.name for exchange in exchanges] == ["a", "a.1", "a.2"]
    assert all(exchange.ok for exchange in exchanges)
    assert exchanges[1].sched_ns == exchanges[0].done_ns + 10_000_000
    asked = orjson.loads(server.requests[2].partition(b"\r\n\r\n")[2])["messages"]
    assert [message["content"] for message in asked] == ["first", " one one", "second", " one one", "third"]
    assert [message["role"] for message in asked] == ["user", "assistant"] * 2 + ["user"]


async def test_a_follow_up_may_come_before_what_was_planned_next() -> None:
    async with scripted(QUICK) as server:
        client = Client(server.target)
        loop = OpenLoop(client, time.monotonic_ns(), "t-", Ask().request, follow)
        loop.add(Planned("a", 0, "x", 2, turns=(Turn("a.1", "y", 2, 1_000_000),)))
        loop.add(Planned("b", 400_000_000, "x", 2))
        exchanges = await loop.run()
        client.close()
    assert [exchange.name for exchange in exchanges] == ["a", "a.1", "b"]


async def test_nothing_planned_ends_at_once() -> None:
    async with scripted(QUICK) as server, asyncio.timeout(5):
        client = Client(server.target)
        assert await OpenLoop(client, time.monotonic_ns(), "t-").run() == []
