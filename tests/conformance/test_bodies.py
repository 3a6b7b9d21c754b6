"""Bodies of both directions: every framing, as they come, and what a bodiless response leaves behind."""

import gzip
from pathlib import Path

import pytest

from valve_sidecar.flight import Outcome

from .conftest import Stage
from .planes import RELAYS_TRAILERS, build_reusing
from .wire import Message, Peer

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
GET = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"
POST = b"POST /v1/completions HTTP/1.1\r\nHost: x\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"
MANY = 8 << 20  # bytes


def ask(stage: Stage, request: bytes, response: bytes) -> tuple[Message, Message, Peer, Peer]:
    """One exchange. Returns what the engine got, what the client got, and both connections."""
    client = stage.client(request)
    engine, got = stage.accept_request()
    engine.send(response)
    return got, client.read_message(), client, engine


def assert_reusable(client: Peer, engine: Peer) -> None:
    """Both connections carry another request."""
    client.send(GET)
    assert engine.read_head().first == "GET /health HTTP/1.1"
    engine.send(OK)
    assert client.read_message().body == b"ok"


def assert_goes_on(client: Peer, stage: Stage) -> None:
    """The client's connection carries another request, over a new connection to the engine."""
    client.send(GET)
    engine, _ = stage.accept_request()
    engine.send(OK)
    assert client.read_message().body == b"ok"


def test_content_length_both_ways(stage: Stage) -> None:
    got, answer, client, engine = ask(stage, POST + b"Content-Length: 5\r\n\r\nhello", OK)
    assert got.head == POST + b"Content-Length: 5\r\n\r\n"
    assert got.body == b"hello"
    assert answer.head == b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"
    assert answer.body == b"ok"
    assert_reusable(client, engine)
    ending = stage.record.ending()
    assert (ending.outcome, ending.status) == (Outcome.COMPLETED, 200)
    assert stage.record.bytes_seen["1"] == b"ok"


def test_chunked_both_ways(stage: Stage) -> None:
    body = b"5;name=value\r\nhello\r\n6\r\n world\r\n0\r\n\r\n"
    response = b"HTTP/1.1 200 OK\r\n" + CHUNKED + b"2\r\nto\r\n4\r\nkens\r\n0\r\n\r\n"
    got, answer, client, _ = ask(stage, POST + CHUNKED + body, response)
    assert got.body == b"hello world"
    assert got.values("content-length") == []
    assert answer.body == b"tokens"
    assert_goes_on(client, stage)
    assert stage.record.bytes_seen["1"] == b"tokens"


def test_a_request_body_travels_while_it_arrives(stage: Stage) -> None:
    client = stage.client(POST + b"Content-Length: 10\r\n\r\n")
    engine = stage.accept()
    assert engine.read_head().values("content-length") == ["10"]
    client.send(b"first")
    assert engine.read(5) == b"first"
    client.send(b"other")
    assert engine.read(5) == b"other"
    engine.send(OK)
    assert client.read_message().status == 200


def test_a_chunked_request_body_travels_while_it_arrives(stage: Stage) -> None:
    client = stage.client(POST + CHUNKED)
    engine = stage.accept()
    engine.read_head()
    for piece in (b"one", b"two"):
        client.send(b"3\r\n" + piece + b"\r\n")
        assert engine.read_chunk() == piece
    client.send(b"0\r\n\r\n")
    assert engine.read_chunk() == b""
    engine.send(OK)
    assert client.read_message().status == 200


def test_an_engine_that_closes_after_a_stream_without_saying_so(stage: Stage) -> None:
    """As llama.cpp does. The close comes after the next request was sent: the worst case of that race."""
    client = stage.client(POST + b"Content-Length: 2\r\n\r\n{}")
    first, _ = stage.accept_request()
    first.send(b"HTTP/1.1 200 OK\r\n" + CHUNKED + b"0\r\n\r\n")
    client.read_message()
    client.send(POST + b"Content-Length: 2\r\n\r\n{}")
    second, _ = stage.accept_request()
    first.close()
    second.send(OK)
    assert client.read_message().status == 200


def test_an_engine_that_is_known_to_stay_after_a_stream(tmp_path: Path) -> None:
    stage = Stage(build_reusing, tmp_path)
    client = stage.client(POST + b"Content-Length: 2\r\n\r\n{}")
    engine, _ = stage.accept_request()
    engine.send(b"HTTP/1.1 200 OK\r\n" + CHUNKED + b"3\r\none\r\n0\r\n\r\n")
    assert client.read_message().body == b"one"
    assert_reusable(client, engine)
    stage.close()


def test_events_reach_the_client_one_by_one_and_untouched(stage: Stage) -> None:
    client = stage.client(POST + b"Content-Length: 2\r\n\r\n{}")
    engine, _ = stage.accept_request()
    engine.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n" + CHUNKED)
    assert client.read_head().values("content-type") == ["text/event-stream"]
    for event in (b": keep-alive\n\n", b'data: {"a": 1}\r\n\r\n', b"data: [DONE]\n\n"):
        engine.send(b"%x\r\n%b\r\n" % (len(event), event))
        assert client.read_chunk() == event
    engine.send(b"0\r\n\r\n")
    assert client.read_chunk() == b""
    assert stage.record.ending().outcome is Outcome.COMPLETED


def test_a_compressed_body_stays_compressed(stage: Stage) -> None:
    packed = gzip.compress(b"hello" * 100)
    fields = b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(packed)
    got, answer, *_ = ask(stage, POST + fields + packed, b"HTTP/1.1 200 OK\r\n" + fields + packed)
    assert got.body == answer.body == packed
    assert got.values("content-encoding") == answer.values("content-encoding") == ["gzip"]


def test_a_body_that_ends_with_its_connection(stage: Stage) -> None:
    client = stage.client(POST + b"Content-Length: 0\r\n\r\n")
    engine, _ = stage.accept_request()
    engine.send(b"HTTP/1.1 200 OK\r\n\r\nall of ")
    assert client.read_head().values("transfer-encoding") == ["chunked"]
    engine.send(b"it")
    engine.close()
    assert client.read_chunks() == b"all of it"
    assert stage.record.ending().outcome is Outcome.COMPLETED


def test_http10_gets_no_chunks(stage: Stage) -> None:
    client = stage.client(b"POST /v1/completions HTTP/1.0\r\nContent-Length: 2\r\n\r\n{}")
    engine, got = stage.accept_request()
    assert got.first == "POST /v1/completions HTTP/1.1"
    assert len(got.values("host")) == 1
    engine.send(b"HTTP/1.1 200 OK\r\n" + CHUNKED + b"5\r\nhello\r\n0\r\n\r\n")
    answer = client.read_head()
    assert answer.values("transfer-encoding") == []
    assert answer.values("connection") == ["close"]
    assert client.read_to_end() == b"hello"


def test_http10_keep_alive(stage: Stage) -> None:
    request = b"GET / HTTP/1.0\r\nHost: x\r\nConnection: keep-alive\r\n\r\n"
    _, answer, client, engine = ask(stage, request, OK)
    assert answer.values("connection") == ["keep-alive"]
    assert_reusable(client, engine)


@pytest.mark.parametrize(
    ("request_line", "response"),
    [
        (b"HEAD / HTTP/1.1", b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"),
        (b"GET / HTTP/1.1", b'HTTP/1.1 304 Not Modified\r\nETag: "a"\r\nContent-Length: 1000\r\n\r\n'),
        (b"DELETE / HTTP/1.1", b"HTTP/1.1 204 No Content\r\n\r\n"),
    ],
    ids=["HEAD", "304", "204"],
)
def test_a_response_without_a_body(stage: Stage, request_line: bytes, response: bytes) -> None:
    client = stage.client(request_line + b"\r\nHost: x\r\n\r\n")
    engine, _ = stage.accept_request()
    engine.send(response)
    assert client.read_head().head == response
    assert_reusable(client, engine)


def test_head_of_a_chunked_resource(stage: Stage) -> None:
    client = stage.client(b"HEAD / HTTP/1.1\r\nHost: x\r\n\r\n")
    engine, _ = stage.accept_request()
    engine.send(b"HTTP/1.1 200 OK\r\n" + CHUNKED)
    assert client.read_head().status == 200
    assert_goes_on(client, stage)


def test_trailers_leave_the_message_and_the_connection_whole(stage: Stage) -> None:
    trailer = b"Trailer: X-Sum\r\n"
    body = b"5\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n"
    response = b"HTTP/1.1 200 OK\r\n" + trailer + CHUNKED + body
    got, answer, client, _ = ask(stage, POST + trailer + CHUNKED + body, response)
    assert got.body == answer.body == b"hello"
    relayed = stage.plane in RELAYS_TRAILERS
    assert got.trailers == answer.trailers == ([b"X-Sum: 1"] if relayed else [])
    assert got.values("trailer") == answer.values("trailer") == (["X-Sum"] if relayed else [])
    assert_goes_on(client, stage)


def test_a_get_with_a_body_is_framed_again(stage: Stage) -> None:
    got, _, client, engine = ask(stage, b"GET /props HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc", OK)
    assert got.body == b"abc"
    assert_reusable(client, engine)
    assert stage.record.bytes_seen == {}, "no inference, no flight"


def test_pipelined_requests_are_answered_in_order(stage: Stage) -> None:
    client = stage.client(b"".join(b"GET /%d HTTP/1.1\r\nHost: x\r\n\r\n" % n for n in range(3)))
    engine = stage.accept()
    for number in range(3):
        assert engine.read_head().first == f"GET /{number} HTTP/1.1"
        assert engine.is_silent()
        engine.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n%d" % number)
        assert client.read_message().body == b"%d" % number


def test_large_bodies_both_ways(stage: Stage) -> None:
    block = bytes(range(256)) * 256
    client = stage.client(POST + b"Content-Length: %d\r\n\r\n" % MANY)
    engine = stage.accept()
    engine.read_head()
    for _ in range(MANY // len(block)):
        client.send(block)
        assert engine.read(len(block)) == block
    engine.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % MANY)
    client.read_head()
    for _ in range(MANY // len(block)):
        engine.send(block)
        assert client.read(len(block)) == block
    assert_reusable(client, engine)
    assert len(stage.record.bytes_seen["1"]) == MANY


def test_100_continue_is_the_engines_to_say(stage: Stage) -> None:
    client = stage.client(POST + b"Expect: 100-continue\r\nContent-Length: 4\r\n\r\n")
    engine = stage.accept()
    assert engine.read_head().values("expect") == ["100-continue"]
    assert client.is_silent()
    engine.send(b"HTTP/1.1 100 Continue\r\n\r\n")
    assert client.read_head().first == "HTTP/1.1 100 Continue"
    client.send(b"body")
    assert engine.read(4) == b"body"
    engine.send(OK)
    assert client.read_message().status == 200
    assert_reusable(client, engine)


def test_100_continue_refused(stage: Stage) -> None:
    client = stage.client(POST + b"Expect: 100-continue\r\nContent-Length: 4\r\n\r\n")
    engine = stage.accept()
    engine.read_head()
    engine.send(b"HTTP/1.1 417 Expectation Failed\r\nContent-Length: 2\r\n\r\nno")
    answer = client.read_message()
    assert (answer.status, answer.body) == (417, b"no")
    assert answer.values("connection") == ["close"], "a body may or may not follow"
    assert engine.sees_close()


def test_a_client_that_does_not_wait_for_100(stage: Stage) -> None:
    client = stage.client(POST + b"Expect: 100-continue\r\nContent-Length: 4\r\n\r\nbody")
    engine, got = stage.accept_request()
    assert got.body == b"body"
    engine.send(b"HTTP/1.1 100 Continue\r\n\r\n" + OK)
    assert client.read_head().status == 100
    assert client.read_message().status == 200


def test_a_100_that_nobody_asked_for_is_dropped(stage: Stage) -> None:
    _, answer, *_ = ask(stage, POST + b"Content-Length: 0\r\n\r\n", b"HTTP/1.1 100 Continue\r\n\r\n" + OK)
    assert answer.status == 200


def test_early_hints_travel(stage: Stage) -> None:
    hints = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
    client = stage.client(GET)
    engine, _ = stage.accept_request()
    engine.send(hints)
    assert client.read_head().head == hints
    engine.send(OK)
    assert client.read_message().status == 200


def test_an_early_response_while_the_body_is_on_its_way(stage: Stage) -> None:
    client = stage.client(POST + b"Content-Length: 1000\r\n\r\npart")
    engine = stage.accept()
    engine.read_head()
    assert engine.read(4) == b"part"
    engine.send(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\n\r\nbig")
    answer = client.read_message()
    assert (answer.status, answer.body) == (413, b"big")
    assert answer.values("connection") == ["close"]
    assert engine.sees_close()
    ending = stage.record.ending()
    assert (ending.outcome, ending.status) == (Outcome.COMPLETED, 413)


def test_both_bodies_at_the_same_time(stage: Stage) -> None:
    client = stage.client(POST + CHUNKED)
    engine = stage.accept()
    engine.read_head()
    engine.send(b"HTTP/1.1 200 OK\r\n" + CHUNKED)
    client.read_head()
    for piece in (b"a", b"b"):
        client.send(b"1\r\n" + piece + b"\r\n")
        assert engine.read_chunk() == piece
        engine.send(b"1\r\n" + piece + b"\r\n")
        assert client.read_chunk() == piece
    client.send(b"0\r\n\r\n")
    assert engine.read_chunk() == b""
    engine.send(b"0\r\n\r\n")
    assert client.read_chunk() == b""
