"""The stream behind the live page: when a frame comes, who may watch, how it ends."""

import asyncio
from typing import Any

import orjson
import pytest
from aiohttp import ClientSession

from valve_sidecar.address import Address
from valve_sidecar.admin import AdminServer
from valve_sidecar.live import HISTORY, MAX_WATCHERS
from valve_sidecar.sources import Sources

from .test_picture import state

ANY_PORT = Address("127.0.0.1", 0)


class Scripted:
    """Sources whose state and events a test sets."""

    def __init__(self) -> None:
        self.shown = state()
        self.log: list[dict[str, Any]] = []

    async def state(self) -> dict[str, Any]:
        return self.shown

    async def events(self, since: int, limit: int) -> dict[str, Any]:
        first = min(since, len(self.log))
        events = self.log[first : first + limit]
        return {"events": events, "next": first + len(events), "dropped": 0}

    async def problems(self) -> list[str]:
        return []


class Scene:
    def __init__(self) -> None:
        self.told = Scripted()
        self.server = AdminServer(ANY_PORT, Sources(self.told.state, self.told.events, self.told.problems))

    async def __aenter__(self) -> "Scene":
        await self.server.start()
        self.session = ClientSession(str(self.server.bound))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.session.close()
        await self.server.stop()


async def next_frame(response: Any) -> dict[str, Any]:
    line = await asyncio.wait_for(response.content.readline(), 20)
    assert await response.content.readline() == b"\n"
    return dict(orjson.loads(line.removeprefix(b"data: ")))


async def test_a_frame_comes_at_once_and_with_each_change() -> None:
    async with Scene() as scene, scene.session.get("/live") as response:
        assert (await next_frame(response))["gate"] == "open"
        scene.told.shown = state(gate="closed")
        scene.told.log.append({"kind": "close", "t_ns": 1, "request_id": "r-1"})
        frame = await next_frame(response)
        assert (frame["gate"], [event["kind"] for event in frame["events"]]) == ("closed", ["close"])


async def test_history_is_bounded() -> None:
    async with Scene() as scene:
        scene.told.log = [{"kind": "open", "t_ns": i} for i in range(HISTORY + 5)]
        async with scene.session.get("/live") as response:
            frame = await next_frame(response)
    assert frame["events"][-1]["t_ns"] == HISTORY + 4


async def test_too_many_watchers_are_refused_and_a_place_becomes_free() -> None:
    async with Scene() as scene:
        watching = [await scene.session.get("/live") for _ in range(MAX_WATCHERS)]
        async with scene.session.get("/live") as refused:
            assert refused.status == 503
        watching[0].close()
        scene.told.log += [{"kind": "open", "t_ns": 1}]
        for _ in range(200):
            async with scene.session.get("/live") as response:
                if response.status == 200:
                    break
            scene.told.log += [{"kind": "open", "t_ns": 1}]  # the server notices when it writes
            await asyncio.sleep(0.05)
        else:
            pytest.fail("the place never became free")
        for each in watching:
            each.close()


async def test_the_end_of_the_server_ends_the_stream() -> None:
    async with Scene() as scene, scene.session.get("/live") as response:
        await next_frame(response)
        await scene.server.stop()
        assert b"" in [await response.content.read() for _ in range(2)]


async def test_the_page_needs_nothing_from_elsewhere() -> None:
    async with Scene() as scene, scene.session.get("/") as response:
        page = await response.text()
        policy = response.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "http://" not in page
    assert "https://" not in page


async def test_not_for_other_machines() -> None:
    server = AdminServer(Address("0.0.0.0", 0), Scene().server._sources)
    await server.start()
    try:
        async with ClientSession(f"http://127.0.0.1:{server.bound.port}") as session:
            for path in ("/", "/live"):
                async with session.get(path) as response:
                    assert response.status == 404
    finally:
        await server.stop()
