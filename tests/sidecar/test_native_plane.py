"""Where the native data plane looks for the engine; starting and stopping is in test_proxy.py."""

import socket
from pathlib import Path

import pytest

from valve_adapters.registry import by_name
from valve_sidecar.address import Address
from valve_sidecar.flight import Flight, Head, Outcome
from valve_sidecar.listener import Listener
from valve_sidecar.native_plane import NativePlane, engine_addresses, is_literal, pack_address


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
