"""The response parser: framing, cuts anywhere, and what is refused."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from valve_loadgen.wire import ResponseParser, WireError

CHUNKED = (
    b"HTTP/1.1 100 Continue\r\n\r\n"
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"5;ext=1\r\nhello\r\n1\r\n \r\n5\r\nworld\r\n0\r\nTrailer: x\r\n\r\n"
)


@given(cuts=st.lists(st.integers(0, len(CHUNKED)), max_size=20))
def test_a_chunked_body_survives_any_cut(cuts: list[int]) -> None:
    parser, places = ResponseParser(), [0, *sorted(cuts), len(CHUNKED)]
    pieces = [CHUNKED[a:b] for a, b in itertools.pairwise(places)]
    assert b"".join(part for piece in pieces for part in parser.feed(piece)) == b"hello world"
    assert parser.complete
    assert parser.reusable
    assert parser.status == 200


def test_a_length_ends_the_body() -> None:
    parser = ResponseParser()
    assert parser.feed(b"HTTP/1.1 404 Not Found\r\ncontent-length: 3\r\n\r\nab") == [b"ab"]
    assert not parser.complete
    assert parser.feed(b"c") == [b"c"]
    assert parser.complete
    assert parser.status == 404


def test_no_length_ends_with_the_connection() -> None:
    parser = ResponseParser()
    assert parser.feed(b"HTTP/1.0 200 OK\r\n\r\nab") == [b"ab"]
    parser.end_of_stream()
    assert parser.complete
    assert not parser.reusable


def test_connection_close_is_not_reusable() -> None:
    parser = ResponseParser()
    parser.feed(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
    assert parser.complete
    assert not parser.reusable


def test_no_content_has_no_body() -> None:
    parser = ResponseParser()
    parser.feed(b"HTTP/1.1 204 No Content\r\n\r\n")
    assert parser.complete


@pytest.mark.parametrize(
    "data",
    [
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nabc\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nab",
        b"x" * 70_000,
    ],
)
def test_refuses_what_is_no_response(data: bytes) -> None:
    with pytest.raises(WireError):
        ResponseParser().feed(data)


@pytest.mark.parametrize("cut", [b"", b"HTTP/1.1 200 OK\r\nContent-Le", CHUNKED[:-3], CHUNKED[:-20]])
def test_a_cut_response_is_an_error(cut: bytes) -> None:
    parser = ResponseParser()
    parser.feed(cut)
    with pytest.raises(WireError, match="closed before"):
        parser.end_of_stream()
