"""What the wire does not show of one exchange: that nothing of it is left behind."""

import asyncio
from types import SimpleNamespace
from typing import Any, cast

from aiohttp.test_utils import make_mocked_request

from valve_sidecar.relay import Exchange


class StuckUpload:
    """An upload whose end takes until somebody gives up waiting for it."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()

    async def stop(self) -> None:
        self.asked.set()
        await asyncio.Event().wait()


async def leave_and_cancel(connection: object) -> bool:
    """Whether the cancellation came through."""
    nobody = cast(Any, SimpleNamespace())
    exchange = Exchange(make_mocked_request("POST", "/"), nobody, nobody, nobody, None)
    upload = StuckUpload()
    leaving = asyncio.create_task(exchange._leave(cast(Any, connection), cast(Any, upload), reusable=False))
    await upload.asked.wait()
    leaving.cancel()
    await asyncio.wait([leaving])
    return leaving.cancelled()


def test_a_client_that_goes_while_the_upload_ends_leaves_no_connection_behind() -> None:
    closed: list[bool] = []
    connection = SimpleNamespace(close=lambda: closed.append(True))
    assert asyncio.run(leave_and_cancel(connection))
    assert closed == [True]
