"""Owns the open loop: sends every planned request at its time, whatever the answers do."""

import asyncio
import contextlib
import gc
import heapq
import itertools
import time
from collections.abc import Callable, Iterator, Sequence

from valve_loadgen.alarm import Timer
from valve_loadgen.arrivals import Planned
from valve_loadgen.client import Client
from valve_loadgen.completions import PATH, completion
from valve_loadgen.connection import Call
from valve_loadgen.exchange import Exchange
from valve_loadgen.reader import NEVER_NS

PATIENCE_S = 120.0
LEAD_NS = 25_000  # the timer rings this early, which covers the wake-up; what is left is spun away
ToRequest = Callable[[Client, Planned, str], bytes]


def plain_completion(client: Client, plan: Planned, request_id: str) -> bytes:
    """The request of the benchmarks on our own engines."""
    return client.request("POST", PATH, completion(plan.prompt, plan.output_tokens), request_id)


class OpenLoop:
    """One run of a plan; `exchanges` and `in_flight` may be looked at meanwhile, `cpu_s` (spent) afterwards.

    `follow` may give the request that follows one that has ended (the next turn of a conversation).
    """

    def __init__(
        self,
        client: Client,
        start_ns: int,
        prefix: str,
        to_request: ToRequest = plain_completion,
        follow: Callable[[Planned, Exchange], Planned | None] = lambda _plan, _exchange: None,
    ) -> None:
        self.exchanges: list[Exchange] = []
        self.cpu_s = 0.0
        self._client, self._start_ns, self._prefix = client, start_ns, prefix
        self._to_request, self._follow = to_request, follow
        self._agenda: list[tuple[int, int, Planned]] = []
        self._order = itertools.count()
        self._ready: tuple[Planned, Call] | None = None
        self._calls: set[Call] = set()
        self._done = asyncio.Event()
        self._timer = Timer(self._ring)

    @property
    def in_flight(self) -> int:
        return len(self._calls)

    def add(self, plan: Planned) -> None:
        """Plans one request more; may be called while the loop runs."""
        at_ns = self._start_ns + plan.at_ns
        heapq.heappush(self._agenda, (at_ns, next(self._order), plan))
        if self._agenda[0][2] is plan:
            self._wake_at(at_ns - LEAD_NS)

    async def run(self) -> list[Exchange]:
        """Returns when all have ended; what has not PATIENCE_S after the last was sent is cancelled."""
        try:
            with _undisturbed():
                before_s = time.process_time()
                while self._agenda or self._late_s() < PATIENCE_S:
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(self._done.wait(), 1.0)
                        break
                self.cpu_s = time.process_time() - before_s
        finally:
            self._timer.close()
            self._client.reader.busy_at_ns = NEVER_NS
            self._give_up()
        return self.exchanges

    def _late_s(self) -> float:
        """Since the last send; PATIENCE_S if nothing is in flight."""
        if not self._calls:
            return PATIENCE_S
        last = self.exchanges[-1]
        return (time.monotonic_ns() - max(last.send_ns, last.sched_ns)) / 1e9

    def _give_up(self) -> None:
        for call in [*self._calls]:
            self._client.cancel(call)
            call.exchange.error = f"no end within {PATIENCE_S:g} s of the last arrival"

    def _ring(self) -> None:
        """Sends what is due, prepares what is next, sets the timer for it."""
        while self._agenda:
            at_ns = self._agenda[0][0]
            self._prepare()
            if at_ns - time.monotonic_ns() > LEAD_NS:
                self._wake_at(at_ns - LEAD_NS)
                return
            while time.monotonic_ns() < at_ns:
                pass
            self._send()
        self._client.reader.busy_at_ns = NEVER_NS

    def _wake_at(self, at_ns: int) -> None:
        self._timer.set(at_ns)
        self._client.reader.busy_at_ns = at_ns

    def _prepare(self) -> None:
        at_ns, _order, plan = self._agenda[0]
        if self._ready is not None and self._ready[0] is plan:
            return
        exchange = Exchange(f"{self._prefix}{plan.name}", plan.name, at_ns)
        exchange.keeps_text = bool(plan.turns)
        request = self._to_request(self._client, plan, exchange.request_id)
        call = self._client.stream_call(exchange, request, lambda: self._ended(plan, call))
        self._ready = plan, call

    def _send(self) -> None:
        assert self._ready
        plan, call = self._ready
        heapq.heappop(self._agenda)
        self.exchanges.append(call.exchange)
        self._calls.add(call)
        self._client.begin(call)
        if plan.cancel_after_ns is not None:
            asyncio.get_running_loop().call_later(plan.cancel_after_ns / 1e9, self._cancel, call)

    def _cancel(self, call: Call) -> None:
        if call in self._calls:
            call.exchange.cancelled = True
            self._client.cancel(call)

    def _ended(self, plan: Planned, call: Call) -> None:
        self._calls.discard(call)
        following = self._follow(plan, call.exchange)
        if following is not None:
            self.add(following)
        if not self._calls and not self._agenda:
            self._done.set()


async def replay(
    client: Client,
    planned: Sequence[Planned],
    start_ns: int,
    prefix: str,
    to_request: ToRequest = plain_completion,
) -> list[Exchange]:
    """Sends each request at `start_ns` + its time; waits for the answers, PATIENCE_S at most after the last.

    Request ids are `prefix` + the planned name. What has not ended by then is recorded as an error.
    """
    loop = OpenLoop(client, start_ns, prefix, to_request)
    for plan in planned:
        loop.add(plan)
    return await loop.run()


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
    """Without the garbage collector, whose pauses would delay sends."""
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        gc.unfreeze()
