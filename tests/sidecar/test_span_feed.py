"""The feed with a real exporter process: bounded, and counting what is lost."""

import asyncio
import socket
import sys
from typing import Any

import pytest

from valve_sidecar.span_feed import SLICE, ExportOrder, SpanFeed


def nowhere() -> str:
    """A collector that is not there."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return f"http://127.0.0.1:{sock.getsockname()[1]}"


class Log:
    """`total` events, of which the reader has missed some."""

    def __init__(self, total: int, dropped: int = 0) -> None:
        self.total, self.dropped = total, dropped
        self.largest = self.read_up_to = 0

    async def read(self, since: int, limit: int) -> dict[str, Any]:
        events = [{"kind": "lapse", "t_ns": i} for i in range(since, min(since + limit, self.total))]
        self.largest = max(self.largest, len(events))
        self.read_up_to = since + len(events)
        dropped, self.dropped = self.dropped, 0
        return {"events": events, "next": since + len(events), "dropped": dropped}


async def test_everything_is_read_in_small_slices_before_the_end() -> None:
    log = Log(total=10 * SLICE + 1, dropped=3)
    feed = SpanFeed(ExportOrder(nowhere(), "0", "127.0.0.1", 1), log.read)
    feed.start()
    await asyncio.sleep(0)
    await feed.stop()
    assert log.read_up_to == log.total
    assert log.largest == SLICE
    assert feed.counts["queue_full"] == 3


@pytest.mark.parametrize("executable", ["/bin/false", "/no/such/program"])
async def test_what_an_exporter_takes_with_it_is_counted(
    monkeypatch: pytest.MonkeyPatch, executable: str
) -> None:
    monkeypatch.setattr(sys, "executable", executable)
    log = Log(total=5)
    feed = SpanFeed(ExportOrder(nowhere(), "0", "127.0.0.1", 1), log.read)
    feed.start()
    await feed.stop()
    assert feed.counts["exporter_gone"] == log.read_up_to
    assert feed.counts["exported"] == 0


async def test_stop_without_start() -> None:
    await SpanFeed(ExportOrder(nowhere(), "0", "", 0), Log(0).read).stop()


def test_the_order_survives_the_command_line() -> None:
    order = ExportOrder("http://collector:4318", "1.2", "engine", 8000)
    assert ExportOrder.decode(order.encode()) == order
    with pytest.raises(TypeError):
        ExportOrder.decode('{"unknown": 1}')
