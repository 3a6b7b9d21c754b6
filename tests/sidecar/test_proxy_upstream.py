"""The pool of connections to the engine: what is reused, and what is not."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from valve_sidecar.address import Address
from valve_sidecar.refusal import Refusal
from valve_sidecar.upstream import Upstream


class Listener:
    """An engine that accepts, and says what a test tells it to."""

    def __init__(self) -> None:
        self.accepted: asyncio.Queue[asyncio.StreamWriter] = asyncio.Queue()
        self._writers: list[asyncio.StreamWriter] = []

    async def start(self) -> Address:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        return Address("127.0.0.1", self._server.sockets[0].getsockname()[1])

    async def stop(self) -> None:
        self._server.close()
        for writer in self._writers:
            writer.close()
        await self._server.wait_closed()

    async def _accept(self, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        self.accepted.put_nowait(writer)


@pytest.fixture
async def listener() -> AsyncIterator[Listener]:
    listener = Listener()
    yield listener
    await listener.stop()


async def open_upstream(address: Address, keepalive_s: float = 60) -> Upstream:
    upstream = Upstream(address, keepalive_s, 1)
    upstream.open()
    return upstream


async def test_an_idle_connection_is_reused(listener: Listener) -> None:
    upstream = await open_upstream(await listener.start())
    first = await upstream.connect()
    protocol = upstream.expect(first, "GET")
    first.release()
    second = await upstream.connect()
    assert second.protocol is protocol
    second.close()
    await upstream.close()


async def test_beyond_its_keep_alive_it_is_not(listener: Listener) -> None:
    upstream = await open_upstream(await listener.start(), keepalive_s=0)
    first = await upstream.connect()
    protocol = first.protocol
    first.release()
    await asyncio.sleep(0.001)
    second = await upstream.connect()
    assert second.protocol is not protocol
    second.close()
    await upstream.close()


@pytest.mark.parametrize(
    "poison", [b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison", b"garbage\r\n\r\n"]
)
async def test_nor_when_bytes_came_meanwhile(listener: Listener, poison: bytes) -> None:
    upstream = await open_upstream(await listener.start())
    first = await upstream.connect()
    protocol = upstream.expect(first, "GET")
    first.release()
    (await listener.accepted.get()).write(poison)
    while not protocol.should_close:  # noqa: ASYNC110 - nobody is told
        await asyncio.sleep(0)
    second = await upstream.connect()
    assert second.protocol is not protocol
    second.close()
    await upstream.close()


async def test_unreachable() -> None:
    upstream = await open_upstream(Address("127.0.0.1", 1))
    with pytest.raises(Refusal, match=r"127\.0\.0\.1:1 cannot be reached .*start it, or correct --upstream"):
        await upstream.connect()
    await upstream.close()


async def test_a_name_that_does_not_resolve() -> None:
    upstream = await open_upstream(Address("no-such-host.invalid", 1))
    with pytest.raises(Refusal, match=r"no-such-host\.invalid"):
        await upstream.connect()
    await upstream.close()
