"""WebSocket: the upgrade passes, then bytes both ways, untouched."""

from valve_sidecar.flight import Outcome

from .conftest import Stage

UPGRADE = (
    b"GET /v1/realtime?model=m HTTP/1.1\r\nHost: x\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    b"Sec-WebSocket-Version: 13\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
)
SWITCH = (
    b"HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"
    b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
)


def test_heads_and_bytes_pass_untouched(stage: Stage) -> None:
    client = stage.client(UPGRADE)
    engine = stage.accept()
    assert engine.read_head().head == UPGRADE
    engine.send(SWITCH + b"\x81\x02hi")
    assert client.read_head().head == SWITCH
    assert client.read(4) == b"\x81\x02hi"
    client.send(b"\x81\x80\x00\x00\x00\x00")
    assert engine.read(6) == b"\x81\x80\x00\x00\x00\x00"
    engine.send(b"\x88\x00")
    assert client.read(2) == b"\x88\x00"
    engine.close()
    assert client.read_to_end() == b""
    ending = stage.record.ending()
    assert (ending.outcome, ending.status) == (Outcome.COMPLETED, 101)
    assert stage.record.heads[0].upgrade
    assert stage.record.bytes_seen["1"] == b"\x81\x02hi\x81\x80\x00\x00\x00\x00\x88\x00"


def test_bytes_that_come_before_the_answer_wait_for_it(stage: Stage) -> None:
    client = stage.client(UPGRADE + b"early")
    engine = stage.accept()
    engine.read_head()
    engine.send(SWITCH)
    assert engine.read(5) == b"early"
    assert client.read_head().status == 101


def test_bytes_that_come_before_the_answer_are_bounded(unix_stage: Stage) -> None:
    client = unix_stage.client(UPGRADE)
    engine = unix_stage.accept()
    engine.read_head()
    assert client.fill(64 << 20) < 4 << 20
    engine.send(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
    assert client.read_message().status == 403
    assert client.sees_close()


def test_a_declined_upgrade_smuggles_nothing(stage: Stage) -> None:
    client = stage.client(UPGRADE + b"POST /smuggled HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
    engine = stage.accept()
    engine.read_head()
    engine.send(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
    assert client.read_message().status == 403
    assert client.sees_close()
    try:
        received = engine.read_to_end()
    except ConnectionError:
        received = b""
    assert b"smuggled" not in received


def test_a_client_that_leaves(stage: Stage) -> None:
    client = stage.client(UPGRADE)
    engine = stage.accept()
    engine.read_head()
    engine.send(SWITCH)
    client.read_head()
    client.send(b"bye")
    client.close()
    assert engine.read_to_end() == b"bye"
    assert stage.record.ending().outcome is Outcome.CLIENT_GONE


def test_a_client_that_leaves_while_the_engine_does_not_read(unix_stage: Stage) -> None:
    client = unix_stage.client(UPGRADE)
    engine = unix_stage.accept()
    engine.read_head()
    engine.send(SWITCH)
    client.read_head()
    taken = client.fill(64 << 20)
    client.close()
    assert engine.read_to_end() == b"x" * taken
    assert unix_stage.record.ending().outcome is Outcome.CLIENT_GONE


def test_an_upgrade_that_is_declined(stage: Stage) -> None:
    client = stage.client(UPGRADE)
    engine = stage.accept()
    engine.read_head()
    engine.send(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno")
    answer = client.read_message()
    assert (answer.status, answer.body) == (403, b"no")
    assert client.read_to_end() == b""
    assert stage.record.ending().status == 403


def test_other_upgrades_are_ignored(stage: Stage) -> None:
    client = stage.client(
        b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\n"
        b"Upgrade: h2c\r\nHTTP2-Settings: AA\r\n\r\n"
    )
    engine, got = stage.accept_request()
    assert got.fields == [("Host", "x")]
    engine.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    assert client.read_message().body == b"ok"
    assert client.read_to_end() == b"", "whatever follows such a request is not trusted"
    assert not stage.record.heads[0].upgrade


def test_a_switch_that_nobody_asked_for(stage: Stage) -> None:
    client = stage.client(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    engine, _ = stage.accept_request()
    engine.send(SWITCH + b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    assert client.read_message().status == 502
    assert engine.sees_close()
