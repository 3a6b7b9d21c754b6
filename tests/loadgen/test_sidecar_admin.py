"""Reading a sidecar's events, page by page."""

from pathlib import Path

import pytest

from valve_loadgen.errors import BenchError
from valve_loadgen.sidecar_admin import SidecarAdmin

Page = dict[str, object]


async def read_pages(monkeypatch: pytest.MonkeyPatch, pages: list[Page]) -> tuple[list[Page], list[str]]:
    asked: list[str] = []

    async def read(_admin: SidecarAdmin, path: str) -> Page:
        asked.append(path)
        return pages.pop(0)

    monkeypatch.setattr(SidecarAdmin, "_read", read)
    monkeypatch.setattr("valve_loadgen.sidecar_admin.PAGE", 2)
    return await SidecarAdmin(Path("unused")).new_events(), asked


async def test_events_are_read_to_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    pages: list[Page] = [
        {"events": [{"seq": 0}, {"seq": 1}], "next": 2, "dropped": 0},
        {"events": [{"seq": 2}], "next": 3, "dropped": 0},
    ]
    events, asked = await read_pages(monkeypatch, pages)
    assert events == [{"seq": 0}, {"seq": 1}, {"seq": 2}]
    assert asked == ["/events?since=0&limit=2", "/events?since=2&limit=2"]


async def test_lost_events_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BenchError, match="dropped 5 events"):
        await read_pages(monkeypatch, [{"events": [], "next": 9, "dropped": 5}])
