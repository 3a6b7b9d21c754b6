"""Owns the reading of a sidecar's admin socket."""

import asyncio
import time
from pathlib import Path
from typing import Any

import orjson

from valve_loadgen.client import Client
from valve_loadgen.errors import BenchError
from valve_loadgen.events import Event
from valve_loadgen.target import Target

PAGE = 5000


class SidecarAdmin:
    """Of one sidecar, by the path of its socket."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._seen_events = 0
        self._client = Client(Target(path=str(path)))

    async def ready(self) -> bool:
        status, _body = await self._client.get("/readyz")
        return status == 200

    async def state(self) -> dict[str, Any]:
        """The sidecar's /state."""
        return await self._read("/state")

    async def new_events(self) -> list[Event]:
        """The sidecar's events since the last call. Raises BenchError if any were dropped meanwhile."""
        events: list[Event] = []
        while True:
            page = await self._read(f"/events?since={self._seen_events}&limit={PAGE}")
            if page.get("dropped"):
                raise BenchError(f"the sidecar dropped {page['dropped']} events before they were read")
            self._seen_events = page["next"]
            events += page["events"]
            if len(page["events"]) < PAGE:
                return events

    async def _read(self, path: str) -> dict[str, Any]:
        status, body = await self._client.get(path)
        if status != 200:
            raise BenchError(f"the sidecar's admin {path} answered {status}: {body[:200]!r}")
        document: dict[str, Any] = orjson.loads(body)
        return document

    async def wait_for(self, what: str, condition: str, value: object, timeout_s: float = 10.0) -> None:
        """Waits until /state[condition] == value. Raises BenchError after `timeout_s`."""
        deadline_s = time.monotonic() + timeout_s
        while (await self.state()).get(condition) != value:
            if time.monotonic() > deadline_s:
                raise BenchError(f"{what}: the sidecar's {condition} is not {value!r} after {timeout_s:g} s")
            await asyncio.sleep(0.02)

    def close(self) -> None:
        self._client.close()
