"""Request smuggling: each payload is refused, or reaches the engine as one request that reads one way.

The engine here reads with one strict grammar (wire.Peer.read_message). A payload that two parsers could split
differently must never get to it; `SMUGGLED` is what an attacker would like it to see as a request of its own.
"""

import pytest

from .conftest import Stage
from .wire import Peer

SMUGGLED = b"POST /smuggled HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"
assert len(SMUGGLED) == 55, "the payloads say so"
POST = b"POST /v1/completions HTTP/1.1\r\nHost: x\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"

REFUSED = {
    "two equal lengths": POST + b"Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc" + SMUGGLED,
    "two different lengths": POST
    + b"Content-Length: 0\r\nContent-Length: %d\r\n\r\n%b" % (len(SMUGGLED), SMUGGLED),
    "a list of lengths": POST + b"Content-Length: 0, 55\r\n\r\n" + SMUGGLED,
    "a signed length": POST + b"Content-Length: +3\r\n\r\nabc" + SMUGGLED,
    "a negative length": POST + b"Content-Length: -1\r\n\r\n" + SMUGGLED,
    "a hexadecimal length": POST + b"Content-Length: 0x3\r\n\r\nabc" + SMUGGLED,
    "an empty length": POST + b"Content-Length: \r\n\r\n" + SMUGGLED,
    "a length beyond 64 bits": POST + b"Content-Length: 18446744073709551616\r\n\r\n" + SMUGGLED,
    "length, then chunked": POST + b"Content-Length: 5\r\n" + CHUNKED + b"\r\n0\r\n\r\n" + SMUGGLED,
    "chunked, then length": POST + CHUNKED + b"Content-Length: 55\r\n\r\n0\r\n\r\n" + SMUGGLED,
    "chunked twice": POST + CHUNKED * 2 + b"\r\n0\r\n\r\n" + SMUGGLED,
    "chunked, identity": POST + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n" + SMUGGLED,
    "identity": POST
    + b"Transfer-Encoding: identity\r\nContent-Length: %d\r\n\r\n%b" % (len(SMUGGLED), SMUGGLED),
    "gzip, chunked": POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
    "xchunked": POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
    "chunked behind a vertical tab": POST + b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
    "chunked in quotes": POST + b'Transfer-Encoding: "chunked"\r\n\r\n0\r\n\r\n' + SMUGGLED,
    "space before the colon": POST + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
    "folded line": POST + b"Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
    "folded behind another field": POST + b"X: y\r\n Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
    "first header line with a blank": b"POST / HTTP/1.1\r\n Host: x\r\nContent-Length: 0\r\n\r\n" + SMUGGLED,
    "bare line feeds": b"POST / HTTP/1.1\nHost: x\nContent-Length: 0\n\n" + SMUGGLED,
    "bare line feed in a field": POST + b"X: y\nContent-Length: %d\r\n\r\n%b" % (len(SMUGGLED), SMUGGLED),
    "bare carriage return in a field": POST
    + b"X: y\rContent-Length: %d\r\n\r\n%b" % (len(SMUGGLED), SMUGGLED),
    "NUL in a value": POST + b"X: a\x00b\r\nContent-Length: 0\r\n\r\n" + SMUGGLED,
    "NUL in a name": POST + b"X\x00: a\r\nContent-Length: 0\r\n\r\n" + SMUGGLED,
    "chunked in HTTP/1.0": b"POST / HTTP/1.0\r\nHost: x\r\n" + CHUNKED + b"\r\n0\r\n\r\n" + SMUGGLED,
    "two hosts": b"POST / HTTP/1.1\r\nHost: x\r\nHost: y\r\nContent-Length: 0\r\n\r\n" + SMUGGLED,
    "no host": b"POST / HTTP/1.1\r\nContent-Length: 0\r\n\r\n" + SMUGGLED,
    "a blank in the target": b"POST /a /b HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n" + SMUGGLED,
    "a fragment in the target": b"POST /a#/b HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n" + SMUGGLED,
    "a length as trailer": POST + CHUNKED + b"\r\n0\r\nContent-Length: 55\r\n\r\n" + SMUGGLED,
    "HTTP/1.2": b"POST / HTTP/1.2\r\nHost: x\r\nContent-Length: 0\r\n\r\n" + SMUGGLED,
    "HTTP/2's preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + SMUGGLED,
    "a tunnel": b"CONNECT elsewhere.example:443 HTTP/1.1\r\nHost: elsewhere.example:443\r\n\r\n" + SMUGGLED,
    "a head without end": POST + b"X: " + b"y" * 300_000,
    "fields without end": POST + b"X: y\r\n" * 10_000,
}

BAD_CHUNKS = {
    "hexadecimal prefix": b"0x3\r\nabc\r\n0\r\n\r\n",
    "a sign": b"+3\r\nabc\r\n0\r\n\r\n",
    "a negative size": b"-3\r\nabc\r\n0\r\n\r\n",
    "an underscore": b"1_0\r\nabcdefghijklmnop\r\n0\r\n\r\n",
    "a blank before the size": b" 3\r\nabc\r\n0\r\n\r\n",
    "a size beyond 64 bits": b"10000000000000003\r\nabc\r\n0\r\n\r\n",
    "bare line feed behind the size": b"3\nabc\r\n0\r\n\r\n",
    "bare line feed behind the data": b"3\r\nabc\n0\r\n\r\n",
    "data longer than its size": b"3\r\nabcd\r\n0\r\n\r\n",
    "no size": b"\r\nabc\r\n0\r\n\r\n",
    "a trailer that is a length": b"3\r\nabc\r\n0\r\nContent-Length: 5\r\n\r\n",
    "bare line feed in an extension": b"3;a\nb\r\nabc\r\n0\r\n\r\n",
}

ONE_REQUEST = {  # payload -> the request line and the body that the engine must see
    "two blanks before the version": (
        b"POST /  HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc",
        ("POST / HTTP/1.1", b"abc"),
    ),
    "absolute form": (
        b"POST http://elsewhere.example/v1/completions?a HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc",
        ("POST /v1/completions?a HTTP/1.1", b"abc"),
    ),
    "absolute form without a path": (
        b"GET http://elsewhere.example HTTP/1.1\r\nHost: x\r\n\r\n",
        ("GET / HTTP/1.1", b""),
    ),
    "GET with a body": (
        b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%b" % (len(SMUGGLED), SMUGGLED),
        ("GET / HTTP/1.1", SMUGGLED),
    ),
    "GET with chunks": (
        b"GET / HTTP/1.1\r\nHost: x\r\n" + CHUNKED + b"\r\n37\r\n" + SMUGGLED + b"\r\n0\r\n\r\n",
        ("GET / HTTP/1.1", SMUGGLED),
    ),
    "leading zeros in a length": (POST + b"Content-Length: 0003\r\n\r\nabc", (POST[:-11].decode(), b"abc")),
    "chunk extensions": (POST + CHUNKED + b"\r\n3;a=b\r\nabc\r\n0;c\r\n\r\n", (POST[:-11].decode(), b"abc")),
    "chunked in capitals": (
        POST + b"transfer-ENCODING: CHUNKED\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        (POST[:-11].decode(), b"abc"),
    ),
    "chunked behind a tab": (
        POST + b"Transfer-Encoding:\tchunked \r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        (POST[:-11].decode(), b"abc"),
    ),
    "a length named in Connection": (
        POST + b"Connection: Content-Length\r\nContent-Length: %d\r\n\r\n%b" % (len(SMUGGLED), SMUGGLED),
        (POST[:-11].decode(), SMUGGLED),
    ),
}


@pytest.mark.parametrize("payload", REFUSED.values(), ids=REFUSED)
def test_refused(stage: Stage, payload: bytes) -> None:
    client = stage.client()
    try:
        client.send(payload)
    except ConnectionError:
        pass  # refused while we were still sending
    assert_refused(client)
    assert not stage.engine.was_reached()
    assert stage.record.heads == [], "nothing arrived, nothing was preempted"
    assert stage.record.errors == ["bad_request"]


def assert_refused(client: Peer) -> None:
    answer = client.read_message()
    assert 400 <= answer.status < 600
    assert answer.values("connection") == ["close"]
    assert client.sees_close()


@pytest.mark.parametrize("chunks", BAD_CHUNKS.values(), ids=BAD_CHUNKS)
def test_a_bad_chunk_never_completes_a_request(stage: Stage, chunks: bytes) -> None:
    client = stage.client(POST + CHUNKED + b"\r\n")
    engine = stage.accept()
    engine.read_head()
    client.send(chunks + SMUGGLED)
    assert_refused(client)
    try:
        received = engine.read_to_end()
    except ConnectionError:
        return
    assert b"0\r\n\r\n" not in received
    assert b"smuggled" not in received


@pytest.mark.parametrize(("payload", "expected"), ONE_REQUEST.values(), ids=ONE_REQUEST)
def test_one_request(stage: Stage, payload: bytes, expected: tuple[str, bytes]) -> None:
    client = stage.client(payload)
    engine, got = stage.accept_request()
    assert (got.first, got.body) == expected
    engine.send(OK)
    assert client.read_head().status == 200
    client.send(b"GET /next HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert engine.read_head().first == "GET /next HTTP/1.1", "nothing was left in between"
    engine.send(OK)
    assert client.read_head().status == 200


def test_what_follows_a_refused_request_is_not_served(stage: Stage) -> None:
    client = stage.client(POST + b"Content-Length: x\r\n\r\n")
    assert_refused(client)
    try:
        client.send(SMUGGLED)
    except ConnectionError:
        pass
    assert not stage.engine.was_reached()
