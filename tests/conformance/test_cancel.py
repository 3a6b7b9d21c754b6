"""A client that goes away: the engine's connection closes at once, in every phase."""

from collections.abc import Callable

import pytest

from valve_sidecar.flight import Outcome

from .conftest import Stage
from .wire import Peer

POST = b"POST /v1/completions HTTP/1.1\r\nHost: x\r\n"
WHOLE = POST + b"Content-Length: 2\r\n\r\n{}"
STREAM = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
HANG_UPS = {"close": Peer.close, "reset": Peer.reset, "half-close": Peer.half_close}


@pytest.fixture(params=HANG_UPS)
def hang_up(request: pytest.FixtureRequest) -> Callable[[Peer], None]:
    return HANG_UPS[request.param]


def assert_cancelled(stage: Stage, engine: Peer, status: int) -> None:
    assert engine.sees_close()
    ending = stage.record.ending()
    assert (ending.outcome, ending.status) == (Outcome.CLIENT_GONE, status)
    assert stage.record.errors == []


def test_while_the_body_is_on_its_way(stage: Stage, hang_up: Callable[[Peer], None]) -> None:
    client = stage.client(POST + b"Content-Length: 100\r\n\r\nhalf")
    engine = stage.accept()
    engine.read_head()
    assert engine.read(4) == b"half"
    hang_up(client)
    assert_cancelled(stage, engine, 0)


def test_a_chunked_body_is_never_completed(stage: Stage, hang_up: Callable[[Peer], None]) -> None:
    client = stage.client(POST + b"Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n")
    engine = stage.accept()
    engine.read_head()
    assert engine.read_chunk() == b"half"
    hang_up(client)
    try:
        assert engine.read_to_end() == b""
    except ConnectionError:
        pass
    assert stage.record.ending().outcome is Outcome.CLIENT_GONE


def test_before_the_first_byte(stage: Stage, hang_up: Callable[[Peer], None]) -> None:
    client = stage.client(WHOLE)
    engine, _ = stage.accept_request()
    hang_up(client)
    assert_cancelled(stage, engine, 0)


def test_in_the_middle_of_a_stream(stage: Stage, hang_up: Callable[[Peer], None]) -> None:
    client = stage.client(WHOLE)
    engine, _ = stage.accept_request()
    engine.send(STREAM + b"3\r\none\r\n")
    client.read_head()
    assert client.read_chunk() == b"one"
    hang_up(client)
    assert_cancelled(stage, engine, 200)
    assert stage.record.bytes_seen["1"] == b"one"


def test_after_the_head_on_a_silent_stream(stage: Stage, hang_up: Callable[[Peer], None]) -> None:
    client = stage.client(WHOLE)
    engine, _ = stage.accept_request()
    engine.send(STREAM)
    client.read_head()
    hang_up(client)
    assert_cancelled(stage, engine, 200)


def test_while_the_client_does_not_read(unix_stage: Stage) -> None:
    client = unix_stage.client(WHOLE)
    engine, _ = unix_stage.accept_request()
    engine.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (64 << 20))
    engine.fill(64 << 20)
    client.close()
    assert_cancelled(unix_stage, engine, 200)


def test_with_another_request_queued_behind(stage: Stage) -> None:
    client = stage.client(WHOLE + WHOLE)
    engine, _ = stage.accept_request()
    for _ in range(2):
        stage.record.arrived.get(timeout=10)
    client.close()
    assert engine.sees_close()
    outcomes = {stage.record.ending(number).outcome for number in range(2)}
    assert outcomes == {Outcome.CLIENT_GONE, Outcome.REFUSED}, "the second never reached the engine"


def test_other_clients_do_not_notice(stage: Stage) -> None:
    leaving, staying = stage.client(WHOLE), stage.client()
    gone, _ = stage.accept_request()
    staying.send(WHOLE)
    engine, _ = stage.accept_request()
    engine.send(STREAM + b"3\r\none\r\n")
    staying.read_head()
    leaving.close()
    assert gone.sees_close()
    engine.send(b"3\r\ntwo\r\n0\r\n\r\n")
    assert staying.read_chunks() == b"onetwo"
