"""Owns the offline load: keeps the offline engine saturated and counts its tokens by their arrival stamps."""

import asyncio
import bisect
import itertools
import time
from array import array

from valve_loadgen.chunks import read_chunk
from valve_loadgen.client import Client
from valve_loadgen.completions import PATH, completion
from valve_loadgen.errors import BenchError
from valve_loadgen.exchange import Exchange
from valve_loadgen.prompts import prompt
from valve_loadgen.target import Target

RETRY_S = 0.2
START_ERRORS_MAX = 20
START_TIMEOUT_S = 120.0


class TokenLog:
    """Tokens by arrival: answers how many came in any window, exactly."""

    def __init__(self) -> None:
        self._stamps_ns = array("q")
        self._totals = array("q", [0])  # _totals[i]: tokens in the first i events

    def add(self, at_ns: int, tokens: int) -> None:
        """`at_ns` must not decrease."""
        self._stamps_ns.append(at_ns)
        self._totals.append(self._totals[-1] + tokens)

    def between(self, start_ns: int, end_ns: int) -> int:
        """Tokens that arrived in [start_ns, end_ns)."""
        first = bisect.bisect_left(self._stamps_ns, start_ns)
        last = bisect.bisect_left(self._stamps_ns, end_ns)
        return self._totals[last] - self._totals[first]

    def binned(self, start_ns: int, end_ns: int, bin_ns: int) -> list[int]:
        """Tokens in each successive `bin_ns` of [start_ns, end_ns); the last may be shorter."""
        edges = [*range(start_ns, end_ns, bin_ns), end_ns]
        return [self.between(begin, end) for begin, end in itertools.pairwise(edges)]


class OfflineDriver:
    """Keeps `parallel` completions in flight until stopped; has no time-out, since the engine may be frozen.

    A failed completion is counted and asked again after RETRY_S.
    """

    def __init__(
        self, target: Target, parallel: int, prompt_tokens: int = 24, output_tokens: int = 200
    ) -> None:
        self.log = TokenLog()
        self.completions = 0
        self.errors: list[str] = []
        self._target, self._parallel = target, parallel
        self._prompt_tokens, self._output_tokens = prompt_tokens, output_tokens
        self._numbers = itertools.count()
        self._tasks: list[asyncio.Task[None]] = []
        self._streaming: set[int] = set()

    async def start(self) -> None:
        """Starts and returns once every slot has yielded a token since, so that the engine is saturated.

        Raises BenchError when completions fail again and again, or none yields a token for long.
        """
        failed, deadline_s = len(self.errors), time.monotonic() + START_TIMEOUT_S
        self._streaming.clear()
        self._tasks = [asyncio.create_task(self._keep_busy(slot)) for slot in range(self._parallel)]
        while len(self._streaming) < self._parallel:
            await asyncio.sleep(0.02)
            if len(self.errors) - failed > START_ERRORS_MAX:
                await self.stop()
                raise BenchError(f"the offline engine at {self._target} fails: {self.errors[-1]}")
            if time.monotonic() > deadline_s:
                await self.stop()
                raise BenchError(
                    f"the offline engine at {self._target} yields nothing in {START_TIMEOUT_S:g} s: "
                    "is something else running on its cores?"
                )

    async def stop(self) -> None:
        """Cancels what is in flight; may be started again."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []

    async def _keep_busy(self, slot: int) -> None:
        client = Client(self._target)
        try:
            while True:
                error = await self._complete(client, slot)
                if error:
                    self.errors.append(error)
                    await asyncio.sleep(RETRY_S)
                else:
                    self.completions += 1
        finally:
            client.close()

    async def _complete(self, client: Client, slot: int) -> str | None:
        number = next(self._numbers)
        # The slots start staggered, so that their prefills do not all fall together for the whole run.
        length = self._output_tokens * (1 + number % self._parallel) // self._parallel
        tokens = length if number < self._parallel else self._output_tokens
        body = completion(prompt(f"offline/{number}", self._prompt_tokens), tokens)
        exchange = Exchange(f"offline-{number}", "", time.monotonic_ns())
        counted = 0

        def count(at_ns: int, payload: bytes) -> None:
            nonlocal counted
            chunk = read_chunk(payload)
            generated = chunk.generated or chunk.usage_tokens or counted + chunk.has_token
            if generated > counted:
                self.log.add(at_ns, generated - counted)
                self._streaming.add(slot)
                counted = generated
            exchange.error = exchange.error or chunk.error

        await client.stream_live(exchange, PATH, {**body, "timings_per_token": True}, count)
        return None if exchange.ok else exchange.error or f"status {exchange.status}"
