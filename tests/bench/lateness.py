"""How late an event loop's timers are while it feeds 1,000 spans a second to the exporter, and otherwise."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import uvloop

from valve_adapters.registry import by_name
from valve_loadgen import stats
from valve_sidecar.answer import Answer
from valve_sidecar.events import EventLog
from valve_sidecar.flight import Flight, Outcome
from valve_sidecar.span_feed import ExportOrder, SpanFeed
from valve_sidecar.trace import Tracer

from .onlookers import collector

RATE, BLOCK_S, ROUNDS = 1_000, 4.0, 10
TICK_S = 0.001


def measure_lateness(scale: float) -> dict[str, Any]:
    with collector() as url, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_measure(url, max(2, round(ROUNDS * scale))))


async def _measure(collector: str, rounds: int) -> dict[str, Any]:
    log = EventLog()

    async def read(since: int, limit: int) -> dict[str, Any]:
        return log.since(since, limit)

    pairs: list[tuple[list[float], list[float]]] = []
    spans = 0
    for _ in range(rounds):
        quiet = await _block(log)
        feed = SpanFeed(ExportOrder(collector, "bench", "127.0.0.1", 1), read)
        feed._next = log.since(1 << 62, 0)["next"]
        feed.start()
        await asyncio.sleep(1.5)  # the exporter has started
        pairs.append((quiet, await _block(log)))
        await feed.stop()
        spans += feed.counts["exported"]
    moved = stats.difference_of_quantiles(pairs, 0.99)
    return {
        "spans_per_s": RATE,
        "exported": spans,
        "off_us": stats.summary([value for pair in pairs for value in pair[0]]),
        "on_us": stats.summary([value for pair in pairs for value in pair[1]]),
        "p99_moved_us": [moved.value, moved.ci95],
    }


async def _block(log: EventLog) -> list[float]:
    producer = asyncio.create_task(_produce(log))
    late, due = [], time.monotonic()
    for _ in range(round(BLOCK_S / TICK_S)):
        due = max(due, time.monotonic()) + TICK_S
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        late.append(1e6 * max(0.0, time.monotonic() - due))
    producer.cancel()
    await asyncio.gather(producer, return_exceptions=True)
    return late


async def _produce(log: EventLog) -> None:
    """Traced flights, ten at a time, with what a chat answer tells."""
    tracer = Tracer(1.0)
    while True:
        for _ in range(10):
            log.request(_flight(tracer))
        await asyncio.sleep(10 / RATE)


def _flight(tracer: Tracer) -> Flight:
    now_ns = time.monotonic_ns()
    flight = Flight("valve-1", "/v1/chat/completions", by_name("openai").counter("/"), now_ns - 500_000_000)
    flight.first_token_ns, flight.last_token_ns = now_ns - 400_000_000, now_ns - 1_000_000
    flight.finished_ns, flight.tokens, flight.status = now_ns, 40, 200
    flight.outcome, flight.counter, flight.engine = Outcome.COMPLETED, None, "vllm"
    flight.answer = Answer("qwen/Qwen3-8B", "chatcmpl-1", ("stop",), 12, streamed=True)
    flight.trace = tracer.begin({})
    return flight
