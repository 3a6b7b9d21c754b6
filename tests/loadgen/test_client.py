"""The client's stamps and counts against a server that plays scripts: the cases that tools get wrong."""

import asyncio
import time

import pytest

from valve_loadgen.arrivals import Planned
from valve_loadgen.client import Client
from valve_loadgen.exchange import Exchange
from valve_loadgen.openloop import replay

from .scripted import (
    CLOSE,
    DONE,
    END,
    FINISH,
    ROLE,
    TOKEN,
    Script,
    Step,
    chunk,
    event,
    plain,
    scripted,
    stream_head,
    usage,
)

BODY = {"prompt": "x"}
REST = (FINISH, DONE, END)


async def streamed(*script: Step) -> Exchange:
    async with scripted(script) as server:
        client = Client(server.target)
        exchange = Exchange("id-1", "a", time.monotonic_ns())
        await client.stream(exchange, "/v1/completions", BODY)
        client.close()
        assert b"X-Request-Id: id-1\r\n" in server.requests[0]
    return exchange


async def test_a_role_is_no_token() -> None:
    exchange = await streamed(stream_head(), ROLE, 0.1, TOKEN, TOKEN, usage(2), *REST)
    assert exchange.ok
    assert len(exchange.token_ns) == 2
    assert exchange.ttft_ms is not None
    assert exchange.ttft_ms >= 95  # the role came at once, the token 100 ms later


async def test_two_tokens_in_one_event_count_twice_in_tpot() -> None:
    pair = event(b'{"choices":[{"index":0,"text":" one two"}]}')
    exchange = await streamed(stream_head(), pair, 0.03, pair, usage(4), *REST)
    assert exchange.tokens == 4
    assert exchange.tpot_ms == (exchange.token_ns[1] - exchange.token_ns[0]) / 1e6 / 3


async def test_comments_and_usage_are_no_tokens() -> None:
    exchange = await streamed(stream_head(), chunk(b":\n\n"), TOKEN, chunk(b": ping\n\n"), usage(1), *REST)
    assert len(exchange.token_ns) == 1
    assert exchange.tpot_ms is None


async def test_without_usage_events_with_text_are_counted() -> None:
    exchange = await streamed(stream_head(), ROLE, TOKEN, TOKEN, TOKEN, *REST)
    assert exchange.tokens == 3


async def test_a_token_is_stamped_when_its_event_is_whole() -> None:
    halves = TOKEN[:20], TOKEN[20:]
    exchange = await streamed(stream_head(), halves[0], 0.05, halves[1], *REST)
    assert exchange.token_ns[0] - exchange.sched_ns >= 45_000_000


async def test_reasoning_and_tool_deltas_are_tokens() -> None:
    reasoning = event(b'{"choices":[{"index":0,"delta":{"reasoning_content":"hm"}}]}')
    tool = event(b'{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0}]}}]}')
    exchange = await streamed(stream_head(), ROLE, reasoning, tool, *REST)
    assert len(exchange.token_ns) == 2


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ((stream_head(), TOKEN, CLOSE), "closed before"),
        ((stream_head(), event(b'{"error":{"message":"out of memory"}}'), *REST), "out of memory"),
        ((stream_head(), event(b"<html>"), *REST), "not JSON"),
        ((b"SMTP ready\r\n\r\n",), "not an HTTP/1.1 response"),
    ],
)
async def test_failures_are_recorded(script: Script, message: str) -> None:
    exchange = await streamed(*script)
    assert not exchange.ok
    assert message in (exchange.error or "")


async def test_an_error_status_is_not_ok() -> None:
    exchange = await streamed(plain(b"{}", b"503 Service Unavailable"))
    assert (exchange.ok, exchange.status) == (False, 503)


async def test_nothing_listening_is_recorded() -> None:
    async with scripted((plain(b""),)) as server:
        target = server.target
    exchange = Exchange("id-1", "a", 0)
    await Client(target).stream(exchange, "/", BODY)
    assert "cannot connect" in (exchange.error or "")


async def test_connections_are_kept() -> None:
    async with scripted((plain(b"{}"),)) as server:
        client = Client(server.target)
        assert [await client.get("/a"), await client.get("/b")] == [(200, b"{}"), (200, b"{}")]
        assert server.connections == 1
        client.close()


async def test_a_kept_connection_that_the_server_drops_is_replaced() -> None:
    async with scripted((plain(b"{}"), 0.05, CLOSE), (plain(b"second"),)) as server:
        client = Client(server.target)
        await client.get("/a")
        assert (await client.get("/b"))[1] == b"second"  # written before the close is seen, or after
        assert server.connections == 2
        client.close()


async def test_a_new_connection_that_drops_is_an_error_not_a_retry() -> None:
    async with scripted((CLOSE,)) as server:
        client = Client(server.target)
        exchange = Exchange("id-1", "a", 0)
        await client.post(exchange, "/", BODY)
        assert "closed before" in (exchange.error or "")
        assert server.connections == 1
        client.close()


async def test_the_open_loop_sends_on_time_whatever_the_answers_do() -> None:
    all_sent = asyncio.Event()
    script = (all_sent, stream_head(), TOKEN, usage(1), *REST)
    plans = [Planned(f"p{i}", i * 20_000_000, "x", 1) for i in range(4)]
    async with scripted(script) as server:
        client = Client(server.target)
        start_ns = time.monotonic_ns()
        replaying = asyncio.create_task(replay(client, plans, start_ns, "t-"))
        while len(server.requests) < 4:  # would not end if a request waited for another's answer  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        all_sent.set()
        exchanges = await replaying
        client.close()
    assert [each.sched_ns - start_ns for each in exchanges] == [plan.at_ns for plan in plans]
    for each in exchanges:
        assert each.ok
        assert each.send_ns >= each.sched_ns
        assert each.ttft_ms == (each.token_ns[0] - each.sched_ns) / 1e6


async def test_closing_the_client_aborts_what_is_in_flight() -> None:
    async with scripted((stream_head(), TOKEN, 30.0)) as server:
        client = Client(server.target)
        exchange = Exchange("id-1", "a", 0)
        task = asyncio.create_task(client.stream(exchange, "/", BODY))
        await asyncio.sleep(0.1)
        client.close()
        await task
        assert "closed by the client" in (exchange.error or "")
