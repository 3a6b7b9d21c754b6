"""Where the native data plane looks for the engine; starting and stopping is in test_proxy.py."""

import asyncio
import ctypes
import socket
import threading
from pathlib import Path

import pytest

from valve_adapters.registry import by_name
from valve_sidecar.address import Address
from valve_sidecar.flight import Flight, Head, Outcome
from valve_sidecar.listener import Listener
from valve_sidecar.native_plane import NativePlane, engine_addresses, is_literal, pack_address

PATIENCE_S = 10.0  # only ever waited out by a failing test


class Nobody:
    """An intake that is not interested."""

    def arrive(self, head: Head) -> Flight | None:  # noqa: ARG002
        return None

    def progress(self, flight: Flight, data: bytes) -> None: ...

    def finish(self, flight: Flight, outcome: Outcome, status: int) -> None: ...

    def count_error(self, kind: str) -> None: ...


def test_addresses_as_the_kernel_has_them() -> None:
    v4 = pack_address(socket.AF_INET, ("127.0.0.1", 8000))
    assert v4 == bytes([2, 0, 0x1F, 0x40, 127, 0, 0, 1]) + bytes(8)
    v6 = pack_address(socket.AF_INET6, ("::1", 8000, 0, 0))
    assert v6 == bytes([10, 0, 0x1F, 0x40]) + bytes(4) + bytes(15) + b"\1" + bytes(4)


async def test_an_engines_addresses(tmp_path: Path) -> None:
    assert await engine_addresses(Address("127.0.0.1", 80)) == [
        pack_address(socket.AF_INET, ("127.0.0.1", 80))
    ]
    path = str(tmp_path / "engine.sock")
    assert await engine_addresses(Address(path=path)) == [b"\1\0" + path.encode() + b"\0"]
    with pytest.raises(OSError):
        await engine_addresses(Address("no-such-host.invalid", 80))


@pytest.mark.parametrize(
    ("host", "literal"), [("127.0.0.1", True), ("::1", True), ("localhost", False), ("engine.example", False)]
)
def test_what_has_to_be_looked_up_again(host: str, literal: bool) -> None:
    assert is_literal(host) is literal


@pytest.mark.parametrize("host", ["localhost", "no-such-host.invalid"])
async def test_an_engine_by_name(host: str) -> None:
    """One that listens on one of the name's addresses only, and one whose name means nothing yet."""
    with socket.create_server(("127.0.0.1", 0)) as engine:
        upstream = Address(host, engine.getsockname()[1])
        plane = NativePlane(Listener(Address("127.0.0.1", 0)), upstream, by_name("openai"), Nobody())
        await plane.start()
        with socket.create_connection((plane.bound.host, plane.bound.port), timeout=10) as client:
            client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            if host == "localhost":
                engine.settimeout(10)
                engine.accept()[0].close()
            assert client.recv(65_536).startswith(b"HTTP/1.1 502 ")
        await plane.drain(1)


class Stopper:
    """A task that keeps the plane's thread from going on until it is told to."""

    def __init__(self) -> None:
        self._reached, self._go_on = threading.Event(), threading.Event()
        self.task = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_uint64, ctypes.c_uint64)(self._wait)

    def _wait(self, *_: object) -> None:
        self._reached.set()
        self._go_on.wait(PATIENCE_S)

    async def reached(self) -> None:
        assert await asyncio.to_thread(self._reached.wait, PATIENCE_S)

    def go_on(self) -> None:
        self._go_on.set()


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    writer.close()
    await writer.wait_closed()


async def test_what_is_sent_in_the_moment_in_which_it_is_let_go_still_counts() -> None:
    engine = await asyncio.start_server(answer, "127.0.0.1", 0)
    upstream = Address("127.0.0.1", engine.sockets[0].getsockname()[1])
    ends = Listener(Address("127.0.0.1", 0)), upstream
    plane = NativePlane(*ends, by_name("openai"), Nobody(), last_call_s=0)
    await plane.start()
    reader, writer = await asyncio.open_connection(plane.bound.host, plane.bound.port)
    for _ in range(2):  # it has been accepted
        assert await plane.responds(PATIENCE_S)
    first, second = Stopper(), Stopper()
    plane.post(first.task, 0, 0)
    await first.reached()
    drained = asyncio.create_task(plane.drain(PATIENCE_S))
    await turns_of_the_loop()
    plane.post(second.task, 0, 0)  # both are done at once: the last call is over, and nobody looked again
    first.go_on()
    await second.reached()
    writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    await turns_of_the_loop()
    second.go_on()
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 OK\r\n")
    writer.close()
    await drained
    engine.close()
    await engine.wait_closed()


async def turns_of_the_loop() -> None:
    for _ in range(5):
        await asyncio.sleep(0)
