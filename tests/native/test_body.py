"""Bodies that pass: against h11, however the bytes are cut."""

import itertools

import h11
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from .probe import Body

LENGTH, CHUNKED, UNTIL_CLOSE = 1, 2, 3
SIZES = st.sampled_from(["%x", "%X", "0%x", "000%x"])
EXTENSIONS = st.sampled_from([b""] * 5 + [b";a", b";a=b", b';a="b;c"', b"; x"])
TRAILERS = st.sampled_from([b""] * 5 + [b"X-Sum: 1\r\n", b"X-A: b\r\nX-B: \xe9\r\n"])
FAULTS = st.sampled_from(
    [
        b"\n",
        b"\r",
        b" ",
        b"0x",
        b"+",
        b"-",
        b"_",
        b"\x00",
        b";",
        b"\r\n",
        b"G",
        b"Content-Length: 1\r\n",
        b"10",
    ]
)


@st.composite
def chunked_bodies(draw: st.DrawFn) -> tuple[bytes, bytes]:
    """(wire, content)"""
    chunks = draw(st.lists(st.binary(min_size=1, max_size=40), max_size=6))
    wire = b"".join(
        (draw(SIZES) % len(chunk)).encode() + draw(EXTENSIONS) + b"\r\n" + chunk + b"\r\n" for chunk in chunks
    )
    return wire + b"0" + draw(EXTENSIONS) + b"\r\n" + draw(TRAILERS) + b"\r\n", b"".join(chunks)


def follow(body: Body, data: bytes, cuts: list[int]) -> int:
    """How many bytes belonged to the body; -1: malformed."""
    places = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    total = 0
    for begin, end in itertools.pairwise(places):
        taken = body.follow(data[begin:end])
        if taken < 0:
            return -1
        total += taken
    return total


def read_by_h11(wire: bytes) -> bytes | None:
    """The content; None if it is malformed or incomplete."""
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + wire)
    content = b""
    try:
        while True:
            event = connection.next_event()
            if isinstance(event, h11.Data):
                content += bytes(event.data)
            if isinstance(event, h11.EndOfMessage):
                return content
            if event is h11.NEED_DATA:
                return None
    except h11.RemoteProtocolError:
        return None


CUTS = st.lists(st.integers(0, 1 << 16), max_size=6)


@settings(deadline=None, max_examples=400)
@given(chunked_bodies(), CUTS)
def test_what_was_sent_passes_whole_and_without_extensions(
    body: tuple[bytes, bytes], cuts: list[int]
) -> None:
    wire, content = body
    ours = Body(CHUNKED)
    assert follow(ours, wire + b"GET / HTTP/1.1", cuts) == len(wire)
    assert ours.ended
    assert ours.content == content
    assert b";" not in ours.wire.replace(content, b"") or b";" in content
    assert read_by_h11(ours.wire) == content
    ours.close()


@settings(deadline=None, max_examples=1000)
@given(chunked_bodies(), FAULTS, st.integers(0, 1 << 16), CUTS)
def test_what_passes_of_a_faulty_body_is_read_the_same_way_by_h11(
    body: tuple[bytes, bytes], fault: bytes, place: int, cuts: list[int]
) -> None:
    wire = body[0]
    at = place % (len(wire) + 1)
    ours = Body(CHUNKED)
    taken = follow(ours, wire[:at] + fault + wire[at:], cuts)
    seen = read_by_h11(ours.wire)
    if taken >= 0 and ours.ended:
        assert seen == ours.content
    else:
        assert seen is None, "what is not complete must not look complete"
    ours.close()


@settings(deadline=None)
@given(st.binary(max_size=60), CUTS)
def test_any_bytes_are_survived(data: bytes, cuts: list[int]) -> None:
    ours = Body(CHUNKED)
    follow(ours, data, cuts)
    assert len(ours.content) <= len(data)
    ours.close()


@pytest.mark.parametrize("size", [0, 1, 5, 10])
def test_a_known_length(size: int) -> None:
    ours = Body(LENGTH, 5)
    assert ours.follow(b"x" * size) == min(size, 5)
    assert ours.ended is (size >= 5)
    assert ours.wire == ours.content == b"x" * min(size, 5)
    ours.close()


def test_until_the_close() -> None:
    ours = Body(UNTIL_CLOSE)
    assert ours.follow(b"abc") == 3
    assert not ours.ended
    ours.close()


@pytest.mark.parametrize(
    "trailer",
    [b"Content-Length: 5", b"Transfer-Encoding: chunked", b"Host: y", b"Connection: close", b"X y: z"],
)
def test_trailers_that_may_not_pass(trailer: bytes) -> None:
    ours = Body(CHUNKED)
    assert ours.follow(b"0\r\n" + trailer + b"\r\n\r\n") == -1
    assert ours.wire == b""
    ours.close()


def test_trailers_without_end() -> None:
    ours = Body(CHUNKED)
    assert ours.follow(b"0\r\n" + b"X: y\r\n" * 10_000) == -1
    ours.close()
