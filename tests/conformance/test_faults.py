"""The engine's faults: what the client is told, and that a broken response never looks complete."""

import socket
from pathlib import Path

import orjson
import pytest

from valve_sidecar.flight import Outcome

from .conftest import Stage
from .wire import Message, Peer

POST = b"POST /v1/completions HTTP/1.1\r\nHost: x\r\n"
WHOLE = POST + b"Content-Length: 2\r\n\r\n{}"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def assert_fault(stage: Stage, answer: Message, status: int, code: str) -> str:
    """Returns the message for a person."""
    error = orjson.loads(answer.body)["error"]
    assert (answer.status, error["code"], error["type"]) == (status, code, "server_error")
    ending = stage.record.ending()
    assert (ending.outcome, ending.status) == (Outcome.UPSTREAM_FAILED, status)
    assert stage.record.errors == [code]
    return str(error["message"])


def test_unreachable(stage: Stage) -> None:
    stage.engine.close()
    client = stage.client(WHOLE)
    message = assert_fault(stage, client.read_message(), 502, "upstream_unreachable")
    assert stage.engine_address in message
    assert "--upstream" in message
    client.send(b"HEAD / HTTP/1.1\r\nHost: x\r\n\r\n")
    assert client.read_head().status == 502, "the client's connection goes on"


def test_unreachable_unix_socket(unix_stage: Stage) -> None:
    unix_stage.engine.close()
    message = assert_fault(unix_stage, unix_stage.client(WHOLE).read_message(), 502, "upstream_unreachable")
    assert unix_stage.engine_address in message


def test_unreachable_while_the_body_is_on_its_way(stage: Stage) -> None:
    stage.engine.close()
    client = stage.client(POST + b"Content-Length: 100\r\n\r\nhalf")
    answer = client.read_message()
    assert answer.values("connection") == ["close"]
    assert_fault(stage, answer, 502, "upstream_unreachable")


def test_late(plane: str, tmp_path: Path) -> None:
    stage = Stage(plane, tmp_path, connect_timeout_s=0.2, backlog=0)
    waiting = [fill_backlog(stage.engine_address) for _ in range(3)]
    try:
        message = assert_fault(stage, stage.client(WHOLE).read_message(), 504, "upstream_timeout")
        assert stage.engine_address in message
    finally:
        for sock in waiting:
            sock.close()
        stage.close()


def fill_backlog(address: str) -> socket.socket:
    host, _, port = address.removeprefix("http://").rpartition(":")
    sock = socket.socket()
    sock.setblocking(False)
    sock.connect_ex((host, int(port)))
    return sock


@pytest.mark.parametrize("end", [Peer.close, Peer.reset], ids=["close", "reset"])
def test_dying_before_the_answer(stage: Stage, end: object) -> None:
    client = stage.client(WHOLE)
    engine, _ = stage.accept_request()
    end(engine)  # type: ignore[operator]
    assert_fault(stage, client.read_message(), 502, "upstream_reset")
    assert not stage.engine.was_reached(), "a POST is never tried again"


@pytest.mark.parametrize("end", [Peer.close, Peer.reset], ids=["close", "reset"])
def test_dying_before_the_answer_on_a_connection_that_has_served(stage: Stage, end: object) -> None:
    """A request that meets a closing connection looks the same: the engine may have seen it."""
    client = stage.client(WHOLE)
    engine, _ = stage.accept_request()
    engine.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    client.read_head()
    client.send(WHOLE)
    assert engine.read_message().body == b"{}"
    end(engine)  # type: ignore[operator]
    answer = client.read_message()
    assert (answer.status, stage.record.error()) == (502, "upstream_reset")
    assert not stage.engine.was_reached(), "a POST is never tried again"


def test_dying_inside_the_head(stage: Stage) -> None:
    client = stage.client(WHOLE)
    engine, _ = stage.accept_request()
    engine.send(b"HTTP/1.1 200 OK\r\nContent-Le")
    engine.close()
    assert_fault(stage, client.read_message(), 502, "upstream_reset")


def test_not_http(stage: Stage) -> None:
    client = stage.client(WHOLE)
    engine, _ = stage.accept_request()
    engine.send(b"SSH-2.0-OpenSSH_9.2\r\n")
    assert_fault(stage, client.read_message(), 502, "upstream_malformed")


@pytest.mark.parametrize("head", [b"X: " + b"y" * 300_000, b"X: y\r\n" * 10_000], ids=["field", "fields"])
def test_a_head_without_end(stage: Stage, head: bytes) -> None:
    client = stage.client(WHOLE)
    engine, _ = stage.accept_request()
    try:
        engine.send(b"HTTP/1.1 200 OK\r\n" + head)
    except ConnectionError:
        pass  # refused while it was still sending
    assert client.read_message().status == 502
    assert engine.sees_close()


def test_contradicting_lengths(stage: Stage) -> None:
    client = stage.client(WHOLE)
    engine, _ = stage.accept_request()
    engine.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nabc")
    assert_fault(stage, client.read_message(), 502, "upstream_malformed")


@pytest.mark.parametrize("end", [Peer.close, Peer.reset], ids=["close", "reset"])
def test_dying_inside_a_stream(stage: Stage, end: object) -> None:
    client = stage.client(WHOLE)
    engine, _ = stage.accept_request()
    engine.send(CHUNKED + b"3\r\none\r\n")
    client.read_head()
    assert client.read_chunk() == b"one"
    end(engine)  # type: ignore[operator]
    assert_broken(stage, client)


@pytest.mark.parametrize("end", [Peer.close, Peer.reset], ids=["close", "reset"])
def test_dying_inside_a_body_of_known_length(stage: Stage, end: object) -> None:
    client = stage.client(WHOLE)
    engine, _ = stage.accept_request()
    engine.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\none")
    client.read_head()
    assert client.read(3) == b"one"
    end(engine)  # type: ignore[operator]
    assert_broken(stage, client)


def test_a_malformed_chunk_inside_a_stream(stage: Stage) -> None:
    client = stage.client(WHOLE)
    engine, _ = stage.accept_request()
    engine.send(CHUNKED + b"3\r\none\r\n")
    client.read_head()
    assert client.read_chunk() == b"one"
    engine.send(b"not a size\r\n")
    assert_broken(stage, client)


def test_reset_inside_a_body_that_ends_with_its_connection(stage: Stage) -> None:
    client = stage.client(WHOLE)
    engine, _ = stage.accept_request()
    engine.send(b"HTTP/1.1 200 OK\r\n\r\none")
    client.read_head()
    assert client.read_chunk() == b"one"
    engine.reset()
    assert_broken(stage, client)


def test_reset_inside_an_unframed_body_for_http10(stage: Stage) -> None:
    client = stage.client(b"POST / HTTP/1.0\r\nContent-Length: 0\r\n\r\n")
    engine, _ = stage.accept_request()
    engine.send(CHUNKED + b"3\r\none\r\n")
    client.read_head()
    assert client.read(3) == b"one"
    engine.close()
    with pytest.raises(ConnectionResetError):
        client.read_to_end()
    assert stage.record.ending().outcome is Outcome.UPSTREAM_FAILED


def assert_broken(stage: Stage, client: Peer) -> None:
    """Cut, and without the bytes that would make it look complete."""
    try:
        assert client.read_to_end() == b""
    except ConnectionResetError:
        pass
    ending = stage.record.ending()
    assert (ending.outcome, ending.status) == (Outcome.UPSTREAM_FAILED, 200)
    assert stage.record.error() == "upstream_reset"


def test_a_response_that_nobody_asked_for_answers_nobody(stage: Stage) -> None:
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nright"
    client = stage.client(WHOLE)
    engine, _ = stage.accept_request()
    engine.send(answer + b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison")
    assert client.read_message().body == b"right"
    assert engine.sees_close()
    client.send(WHOLE)
    engine, _ = stage.accept_request()
    engine.send(answer)
    assert client.read_message().body == b"right"


def test_a_connection_that_died_in_the_pool_is_not_used(stage: Stage) -> None:
    client = stage.client(WHOLE)
    engine, _ = stage.accept_request()
    engine.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    client.read_head()
    engine.close()
    stage.record.ending()
    client.send(WHOLE)
    engine, got = stage.accept_request()
    assert got.body == b"{}"
    engine.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    assert client.read_head().status == 200
