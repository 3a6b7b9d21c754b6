"""The kernel's stamps: how late the client reads does not matter."""

import asyncio
import shutil
import socket
import ssl
import subprocess
import threading
import time
from pathlib import Path

import pytest

from valve_loadgen.client import Client
from valve_loadgen.connection import Call, connect, realtime_offset_ns
from valve_loadgen.exchange import Exchange
from valve_loadgen.reader import Reader
from valve_loadgen.target import Target

from .scripted import DONE, END, FINISH, TOKEN, plain, scripted, stream_head, usage

QUICK = (stream_head(), TOKEN, TOKEN, usage(2), FINISH, DONE, END)
LATE_S = 0.1


async def test_bytes_are_stamped_when_they_reach_the_socket_not_when_they_are_read() -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    ended = asyncio.Event()
    target, reader = Target(port=listener.getsockname()[1]), Reader()
    connection = await connect(target, reader, lambda _connection, _call: ended.set())
    peer, _ = listener.accept()
    exchange = Exchange("id", "a", 0)
    connection.begin(Call(exchange, b"GET / HTTP/1.1\r\n\r\n", lambda _at_ns, _piece: None, ended.set))
    answered = threading.Thread(target=peer.sendall, args=(plain(b"{}"),))
    answered.start()
    answered.join()
    sent_ns = time.monotonic_ns()
    time.sleep(LATE_S)  # noqa: ASYNC251 (the loop is to be late)
    await ended.wait()
    connection.close()
    reader.close()
    peer.close()
    listener.close()
    assert exchange.ok
    assert exchange.done_ns < sent_ns + LATE_S * 1e9 / 2


def test_the_offset_between_the_clocks_is_steady() -> None:
    apart_ns = abs(realtime_offset_ns() - (time.time_ns() - time.monotonic_ns()))
    assert apart_ns < 1_000_000_000


async def test_a_name_with_several_addresses_is_tried_to_the_end() -> None:
    async with scripted((plain(b"{}"),)) as server:
        client = Client(Target("localhost", server.target.port))  # also ::1, where nothing listens
        assert await client.get("/") == (200, b"{}")
        client.close()


def make_certificate(folder: Path) -> ssl.SSLContext:
    """For localhost: FOLDER/certificate and key; the server's context."""
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    files = ["-keyout", str(folder / "key"), "-out", str(folder / "certificate")]
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    subprocess.run([*command, *names, *files], check=True, capture_output=True)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(folder / "certificate", folder / "key")
    return context


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl to make a certificate")
async def test_tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    context = make_certificate(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "certificate"))
    async with scripted(QUICK, tls=context) as server:
        client = Client(Target("localhost", server.target.port, tls=True))
        exchange = Exchange("id", "a", time.monotonic_ns())
        await client.stream(exchange, "/v1/completions", {})
        client.close()
    assert exchange.ok
    assert exchange.tokens == 2
