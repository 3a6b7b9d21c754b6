"""The scanner follows the standard, and how a stream was cut into chunks never matters."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from valve_adapters.sse import MAX_EVENT, EventScanner

PIECES = [
    b"data: a",
    b"data:b",
    b"data",
    b": note",
    b"event: x",
    b"id: 1",
    b"\n",
    b"\r",
    b"\r\n",
    b"\n\n",
    b"\xff",
    b" ",
]


def scan(*chunks: bytes) -> list[bytes]:
    scanner = EventScanner()
    return [event for chunk in chunks for event in scanner.feed(chunk)]


@pytest.mark.parametrize(
    ("stream", "events"),
    [
        (b"data: one\n\ndata: two\n\n", [b"one", b"two"]),
        (b"data: one\r\n\r\ndata: two\r\n\r\n", [b"one", b"two"]),
        (b"data: one\r\rdata: two\r\r", [b"one", b"two"]),
        (b"data:no blank\n\n", [b"no blank"]),
        (b"data:  two blanks\n\n", [b" two blanks"]),
        (b"data: a\ndata: b\n\n", [b"a\nb"]),
        (b": keep-alive\n\n", []),
        (b"event: ping\nid: 1\nretry: 5\n\n", []),
        (b"event: x\ndata: {}\n\n", [b"{}"]),
        (b"database: no\n\n", []),
        (b"data: unfinished\n", []),
        (b"data: unfinished", []),
        (b"\n\n\n", []),
    ],
)
def test_events(stream: bytes, events: list[bytes]) -> None:
    assert scan(stream) == events
    assert scan(*(stream[i : i + 1] for i in range(len(stream)))) == events


@given(st.lists(st.sampled_from(PIECES), max_size=30).map(b"".join), st.data())
def test_chunk_boundaries_do_not_matter(stream: bytes, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    chunks = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    assert scan(*chunks) == scan(stream)


@given(st.lists(st.binary(max_size=40), max_size=8))
def test_any_bytes_are_survived(chunks: list[bytes]) -> None:
    assert scan(*chunks) == scan(b"".join(chunks))


@pytest.mark.parametrize("size", [1000, 1 << 16, MAX_EVENT + 1])
def test_an_event_beyond_all_bounds_is_skipped_and_not_kept(size: int) -> None:
    scanner = EventScanner()
    scanner.feed(b"data: ")
    for _ in range(2 * MAX_EVENT // size + 1):
        assert scanner.feed(b"x" * size) == []
    assert sum(map(len, (*scanner._partial, *scanner._data))) <= MAX_EVENT
    assert scanner.feed(b"\ndata: rest\n\ndata: next\n\n") == [b"next"]
