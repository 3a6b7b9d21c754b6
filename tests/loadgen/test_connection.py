"""The kernel's stamps: how late the client reads does not matter."""

import asyncio
import socket
import threading
import time

from valve_loadgen.connection import Call, connect, realtime_offset_ns
from valve_loadgen.exchange import Exchange
from valve_loadgen.reader import Reader
from valve_loadgen.target import Target

from .scripted import plain

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
