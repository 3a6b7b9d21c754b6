"""Starting and stopping the data planes; what they carry is in tests/conformance."""

import logging
import socket
from collections.abc import Callable
from pathlib import Path

import httpx
import orjson
import pytest

from valve_adapters.registry import by_name
from valve_sidecar import proxy, relay
from valve_sidecar.address import Address
from valve_sidecar.errors import ListenError, SidecarError
from valve_sidecar.flight import Flight, Head, Outcome
from valve_sidecar.listener import Listener
from valve_sidecar.native_plane import NativePlane
from valve_sidecar.proxy import AiohttpPlane


class Intake:
    """Every request is a flight."""

    def __init__(self) -> None:
        self.endings: list[tuple[Outcome, int]] = []
        self.errors: list[str] = []

    def arrive(self, head: Head) -> Flight:
        return Flight("1", head.path, by_name("openai").counter(head.path), head.readable_ns)

    def progress(self, flight: Flight, data: bytes) -> None: ...

    def finish(self, flight: Flight, outcome: Outcome, status: int) -> None:  # noqa: ARG002
        self.endings.append((outcome, status))

    def count_error(self, kind: str) -> None:
        self.errors.append(kind)


Plane = AiohttpPlane | NativePlane
PlaneOn = Callable[..., Plane]
NOWHERE = Address("127.0.0.1", 1)
ANY_PORT = Address("127.0.0.1", 0)


@pytest.fixture(params=[AiohttpPlane, NativePlane], ids=["aiohttp", "native"])
def plane_on(request: pytest.FixtureRequest) -> PlaneOn:
    def build(listen: Address, intake: Intake | None = None, *, reuse_port: bool = False) -> Plane:
        listener = Listener(listen, reuse_port=reuse_port)
        plane: Plane = request.param(listener, NOWHERE, by_name("openai"), intake or Intake())
        return plane

    return build


async def test_port_zero_becomes_a_real_port(plane_on: PlaneOn) -> None:
    plane = plane_on(ANY_PORT)
    await plane.start()
    assert plane.bound.host == "127.0.0.1"
    assert plane.bound.port > 0
    await plane.drain(1)


async def test_a_port_in_use(plane_on: PlaneOn) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ListenError, match=rf"127\.0\.0\.1:{port}.*in use.*another --listen"):
            await plane_on(Address("127.0.0.1", port)).start()


async def test_an_address_of_another_machine(plane_on: PlaneOn) -> None:
    with pytest.raises(ListenError, match=r"192\.0\.2\.1"):
        await plane_on(Address("192.0.2.1", 0)).start()


async def test_workers_share_a_port(plane_on: PlaneOn) -> None:
    first = plane_on(ANY_PORT, reuse_port=True)
    await first.start()
    second = plane_on(first.bound, reuse_port=True)
    await second.start()
    assert first.bound == second.bound
    await first.drain(1)
    await second.drain(1)


async def test_a_unix_socket_left_behind_is_replaced(plane_on: PlaneOn, tmp_path: Path) -> None:
    path = tmp_path / "in.sock"
    with socket.socket(socket.AF_UNIX) as old:
        old.bind(str(path))
    plane = plane_on(Address(path=str(path)))
    await plane.start()
    async with plane.bound.client(5) as client:
        assert (await client.get("/")).status_code == 502
    await plane.drain(1)
    assert not path.exists()


async def test_a_unix_socket_in_use_is_left_alone(plane_on: PlaneOn, tmp_path: Path) -> None:
    address = Address(path=str(tmp_path / "in.sock"))
    living = plane_on(address)
    await living.start()
    with pytest.raises(ListenError, match="in use"):
        await plane_on(address).start()
    async with address.client(5) as client:
        assert (await client.get("/")).status_code == 502, "the first still answers"
    await living.drain(1)


async def test_a_file_is_not_replaced_by_a_socket(plane_on: PlaneOn, tmp_path: Path) -> None:
    path = tmp_path / "precious"
    path.write_text("data")
    with pytest.raises(ListenError, match="in use"):
        await plane_on(Address(path=str(path))).start()
    assert path.read_text() == "data"


async def test_a_folder_that_does_not_exist(plane_on: PlaneOn, tmp_path: Path) -> None:
    with pytest.raises(ListenError, match="No such file"):
        await plane_on(Address(path=str(tmp_path / "no" / "in.sock"))).start()


async def test_the_python_parser_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from aiohttp.http_parser import HttpRequestParserPy

    monkeypatch.setattr(proxy, "HttpRequestParser", HttpRequestParserPy)
    with pytest.raises(SidecarError, match=r"CVE-2026-111750.*AIOHTTP_NO_EXTENSIONS"):
        await AiohttpPlane(Listener(ANY_PORT), NOWHERE, by_name("openai"), Intake()).start()


async def test_an_error_of_our_own_is_told_logged_and_counted(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def break_down(*_: object) -> None:
        raise RuntimeError("a defect")

    monkeypatch.setattr(relay.Upstream, "connect", break_down)
    intake = Intake()
    plane = AiohttpPlane(Listener(ANY_PORT), NOWHERE, by_name("openai"), intake)
    await plane.start()
    async with plane.bound.client(5) as client:
        response = await client.post(
            "/v1/completions", headers={"Authorization": "Bearer s3cret"}, content=b"{}"
        )
    assert (response.status_code, orjson.loads(response.content)["error"]["code"]) == (502, "internal")
    assert (intake.endings, intake.errors) == ([(Outcome.UPSTREAM_FAILED, 502)], ["internal"])
    assert "a defect" in caplog.text
    await plane.drain(1)


async def test_nothing_of_a_request_reaches_the_log(
    plane_on: PlaneOn, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    plane = plane_on(ANY_PORT)
    await plane.start()
    async with plane.bound.client(5) as client:
        await client.get("/s3cret", headers={"Authorization": "Bearer s3cret"})
    with socket.create_connection((plane.bound.host, plane.bound.port)) as sock:
        sock.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nAuthorization : Bearer s3cret\r\n\r\n")
        async with plane.bound.client(5) as client:  # gives the loop time to answer
            await client.get("/")
        assert b"400 Bad Request" in sock.recv(65536)
    await plane.drain(1)
    own = [
        record.getMessage() for record in caplog.records if not record.name.startswith(("httpx", "httpcore"))
    ]
    assert "s3cret" not in "".join(own)


async def test_draining_twice_is_harmless(plane_on: PlaneOn) -> None:
    plane = plane_on(ANY_PORT)
    await plane.start()
    await plane.drain(1)
    await plane.drain(1)
    with pytest.raises(httpx.ConnectError):
        async with plane.bound.client(5) as client:
            await client.get("/")
