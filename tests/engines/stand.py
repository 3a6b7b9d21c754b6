"""Owns what a test of an engine stands on: the engine, the tap, the sidecar, and how to ask through it."""

from __future__ import annotations

import asyncio
import itertools
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httpx

from valve_loadgen.engines import ENGINES, Engine
from valve_loadgen.events import Event
from valve_loadgen.lab import Lab
from valve_loadgen.target import Target
from valve_loadgen.wire import ResponseParser

from . import routes
from .routes import Route
from .tap import Tap

DEADLINE_S = 60.0  # generous: engines on a shared core are slow
USAGE = re.compile(rb'"(?:completion_tokens|output_tokens|tokens_predicted)":\s*([0-9]+)')
_numbers = itertools.count()


@dataclass
class Answer:
    """What the client got, and what the engine had sent (its body)."""

    request_id: str
    response: httpx.Response
    engine_body: bytes

    @property
    def usage(self) -> int | None:
        """The engine's own figure; None where it told none."""
        return max(map(int, USAGE.findall(self.engine_body)), default=None)


@dataclass
class Stand:
    """`client` goes through the sidecar, `direct` to the engine itself."""

    lab: Lab
    name: str
    engine: Target
    tap: Tap
    client: httpx.AsyncClient
    direct: httpx.AsyncClient
    events: list[Event] = field(default_factory=list)

    @classmethod
    async def before(cls, lab: Lab, name: str, engine: Target) -> Stand:
        """With a sidecar before `engine` that is not told what that is."""
        tap = Tap(engine)
        sidecar = await lab.start_sidecar(await tap.start(), "--device", "cpu", "--cooldown-ms", "50")
        clients = (httpx.AsyncClient(base_url=str(each), timeout=DEADLINE_S) for each in (sidecar, engine))
        return cls(lab, name, engine, tap, *clients)

    async def close(self) -> None:
        await self.client.aclose()
        await self.direct.aclose()
        await self.tap.close()

    @property
    def kind(self) -> Engine:
        return ENGINES[self.name]

    def route(self, name: str) -> Route:
        return routes.of(self.name)[name]

    async def ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> Answer:
        """One request through the sidecar, to its end."""
        request_id = f"test-{next(_numbers)}-"
        response = await self.client.request(
            method, path, json=body, headers={"X-Request-Id": request_id, "Accept-Encoding": "identity"}
        )
        parser = ResponseParser()
        engine_body = b"".join(parser.feed(self.tap.answer(request_id)))
        return Answer(request_id, response, engine_body)

    async def record(self, kind: str, request_id: str) -> Event:
        """The sidecar's event of this kind for a request."""
        await self.until(lambda: self._find(kind, request_id) is not None, f"a {kind} event", look=self.look)
        found = self._find(kind, request_id)
        assert found
        return found

    def _find(self, kind: str, request_id: str) -> Event | None:
        found = (e for e in self.events if e["kind"] == kind and e["request_id"] == request_id)
        return next(found, None)

    async def look(self) -> None:
        """Reads the sidecar's new events."""
        self.events += await self.lab.new_events()

    async def opened_after(self, close: Event) -> Event:
        """The opening of the gate that follows `close`."""

        def found() -> list[Event]:
            return [e for e in self.events if e["kind"] == "open" and e["t_ns"] > close["t_ns"]]

        await self.until(lambda: bool(found()), "the gate opens", look=self.look)
        return found()[0]

    async def gate(self, state: str) -> None:
        await self.lab.wait_for("the gate", "gate", state, DEADLINE_S)

    async def until_tenant(self, state: str) -> None:
        """Until the only tenant that lives says so."""
        states: list[str] = []

        async def look() -> None:
            states.extend(row["state"] for row in (await self.lab.state())["tenants"] if row["alive"])

        await self.until(lambda: states[-1:] == [state], f"the tenant is {state}", look=look)

    async def computing(self) -> bool:
        """Whether the engine itself says that it computes."""
        return self.kind.computing((await self.direct.get(self.kind.load_path)).content)

    async def until_computing(self) -> None:
        deadline_s = time.monotonic() + DEADLINE_S
        while not await self.computing():
            assert time.monotonic() < deadline_s, "the engine does not begin"
            await asyncio.sleep(0.1)

    async def until(self, condition: Callable[[], bool], what: str, look: Callable[[], Any]) -> None:
        """Calls `look` until `condition` holds."""
        deadline_s = time.monotonic() + DEADLINE_S
        await look()
        while not condition():
            assert time.monotonic() < deadline_s, f"not within {DEADLINE_S:g} s: {what}"
            await asyncio.sleep(0.02)
            await look()
