"""Who may ask the admin endpoint: credentials on a unix socket, a token on TCP, probes always."""

import asyncio
import os
import socket
from pathlib import Path

import pytest
from aiohttp import ClientSession, UnixConnector

from valve_sidecar import access
from valve_sidecar import admin as admin_module
from valve_sidecar.access import Caller, caller_of, is_plain, read_token
from valve_sidecar.address import Address
from valve_sidecar.admin import AdminServer
from valve_sidecar.cli import main
from valve_sidecar.errors import ConfigError
from valve_sidecar.sources import Sources

from .test_live import ANY_PORT, Scripted

TOKEN = b"0123456789abcdef"
PRIVATE = ("/", "/state", "/events")
EVERYWHERE = Address("0.0.0.0", 0)


class Admin:
    """A server with this address and token, and a session to it."""

    def __init__(self, address: Address, token: bytes = b"") -> None:
        told = Scripted()
        self.server = AdminServer(address, Sources(told.state, told.events, told.problems), token=token)

    async def __aenter__(self) -> "Admin":
        await self.server.start()
        bound = self.server.bound
        self.session = ClientSession(
            f"http://127.0.0.1:{bound.port}", connector=UnixConnector(bound.path) if bound.path else None
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.session.close()
        await self.server.stop()

    async def status(self, path: str, **headers: str) -> int:
        async with self.session.get(path, headers=headers) as response:
            return response.status


@pytest.mark.parametrize(
    ("caller", "may"),
    [
        (Caller(1000, frozenset({5})), True),
        (Caller(0, frozenset({5})), True),
        (Caller(1001, frozenset({5, 1000})), True),
        (Caller(1001, frozenset({5, 0})), False),
    ],
    ids=["own user", "root", "own group", "neighbour"],
)
def test_whose_callers_may_ask(caller: Caller, may: bool) -> None:
    assert caller.may_ask(uid=1000, gid=1000) == may


def test_the_kernel_tells_who_calls() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX)
    with ours, theirs:
        caller = caller_of(ours)
    assert caller == Caller(os.geteuid(), frozenset((os.getegid(), *os.getgroups())))


async def test_a_unix_socket_answers_its_group_and_nobody_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Admin(Address(path=str(tmp_path / "admin.sock"))) as admin:
        assert (tmp_path / "admin.sock").stat().st_mode & 0o777 == 0o660
        assert await admin.status("/state") == 200
        monkeypatch.setattr(access, "caller_of", lambda _: Caller(12345, frozenset({12345})))
        assert {await admin.status(path) for path in (*PRIVATE, "/metrics")} == {403}


async def test_with_a_token_only_who_has_it_reads_more_than_probes_do() -> None:
    async with Admin(EVERYWHERE, TOKEN) as admin:
        for path in PRIVATE:
            assert await admin.status(path) == 401
            assert await admin.status(path, Authorization="Bearer 0123456789abcdeX") == 401
            assert await admin.status(path, Authorization="Basic " + TOKEN.decode()) == 401
            assert await admin.status(path, Authorization="Bearer " + TOKEN.decode()) == 200
        assert {await admin.status(path) for path in ("/healthz", "/readyz")} == {200}
        assert await admin.status("/nothing") == 401


async def test_a_token_counts_on_loopback_too() -> None:
    async with Admin(ANY_PORT, TOKEN) as admin:
        assert await admin.status("/state") == 401


async def test_without_a_token_the_network_sees_probes_only(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    async with Admin(EVERYWHERE) as admin:
        assert {await admin.status(path) for path in (*PRIVATE, "/live")} == {404}
        assert await admin.status("/healthz") == 200
    assert "health and metrics only; more needs --admin-token-file" in caplog.text


async def test_a_name_that_was_pointed_at_us_is_refused() -> None:
    async with Admin(ANY_PORT) as admin:
        assert await admin.status("/state", Host="evil.example:8781") == 403
        assert await admin.status("/state", Host="localhost:8781") == 200
        assert await admin.status("/healthz", Host="probe.example") == 200


async def test_a_head_that_does_not_end_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admin_module, "IDLE_TIMEOUT_S", 0.1)
    async with Admin(ANY_PORT) as admin:
        reader, writer = await asyncio.open_connection("127.0.0.1", admin.server.bound.port)
        writer.write(b"GET /healthz HTTP/1.1\r\nX: ")
        assert await asyncio.wait_for(reader.read(), 20) == b""
        writer.close()


@pytest.mark.parametrize(
    ("authority", "plain"),
    [
        ("127.0.0.1:1", True),
        ("[::1]:1", True),
        ("localhost", True),
        ("", False),
        ("a.b", False),
        ("[", False),
    ],
)
def test_plain_authorities(authority: str, plain: bool) -> None:
    assert is_plain(authority) == plain


def test_the_token_is_what_the_file_holds(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_bytes(TOKEN + b"\n")
    assert read_token(str(file)) == TOKEN
    assert read_token("") == b""


@pytest.mark.parametrize("content", [b"", b"short\n", b"0123456789 abcdef", b"0123456789abcde\xff"])
def test_what_is_no_token_is_refused(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "token"
    file.write_bytes(content)
    with pytest.raises(ConfigError, match="must hold 16 or more plain characters"):
        read_token(str(file))


def test_a_missing_token_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"admin token file .*nowhere: No such file"):
        read_token(str(tmp_path / "nowhere"))


async def test_events_sends_the_token(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "token").write_bytes(TOKEN)
    async with Admin(ANY_PORT, TOKEN) as admin:
        command = ["events", "--admin", str(admin.server.bound)]
        assert await asyncio.to_thread(main, command) == 1
        assert "wants its token: give its file by --admin-token-file" in capsys.readouterr().err
        assert await asyncio.to_thread(main, [*command, "--admin-token-file", str(tmp_path / "token")]) == 0
        monkeypatch.setenv("VALVE_ADMIN_TOKEN_FILE", str(tmp_path / "token"))
        assert await asyncio.to_thread(main, command) == 0
