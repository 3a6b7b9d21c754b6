"""Back-pressure: a reader that stalls stops its writer, and memory stays bounded."""

from .conftest import Stage
from .wire import QUIET_S

OFFERED = 64 << 20
BOUND = 4 << 20  # both sockets' buffers and what the proxy holds; a proxy without back-pressure takes all


def test_an_engine_that_stalls_stops_the_client(unix_stage: Stage) -> None:
    client = unix_stage.client(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % OFFERED)
    engine = unix_stage.accept()
    engine.read_head()
    taken = client.fill(OFFERED)
    assert taken < BOUND
    assert engine.read(taken) == b"x" * taken
    engine.send(b"HTTP/1.1 413 Enough\r\nContent-Length: 0\r\n\r\n")
    assert client.read_head().status == 413


def test_a_client_that_stalls_stops_the_engine(unix_stage: Stage) -> None:
    client = unix_stage.client(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
    engine, _ = unix_stage.accept_request()
    engine.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % OFFERED)
    taken = engine.fill(OFFERED)
    assert taken < BOUND
    client.read_head()
    assert client.read(taken) == b"x" * taken
    engine.close()
    assert client.sees_close()


def test_a_stalled_client_does_not_hold_up_another(unix_stage: Stage) -> None:
    unix_stage.client(b"GET /1 HTTP/1.1\r\nHost: x\r\n\r\n")
    engine, _ = unix_stage.accept_request()
    engine.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % OFFERED)
    engine.fill(OFFERED)
    other = unix_stage.client(b"GET /2 HTTP/1.1\r\nHost: x\r\n\r\n")
    second, _ = unix_stage.accept_request()
    second.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    assert other.read_message().body == b"ok"


def test_a_client_that_asks_on_and_does_not_read_is_not_served_on(unix_stage: Stage) -> None:
    unix_stage.client(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 400)
    engine, served = unix_stage.accept(), 0
    engine.sock.settimeout(QUIET_S)
    try:
        while engine.read_head():
            engine.send(b"HTTP/1.1 200 OK\r\nContent-Length: 65536\r\n\r\n", b"x" * 65536)
            served += 1
    except TimeoutError:
        pass
    assert 0 < served * 65536 < BOUND


def test_an_upgraded_connection_has_it_both_ways(unix_stage: Stage) -> None:
    client = unix_stage.client(
        b"GET /v1/realtime HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
    )
    engine, _ = unix_stage.accept_request()
    engine.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
    client.read_head()
    for writer, reader in ((client, engine), (engine, client)):
        taken = writer.fill(OFFERED)
        assert taken < BOUND
        assert reader.read(taken) == b"x" * taken
    client.send(b"still")
    assert engine.read(5) == b"still"
