"""Events come out whole and in order, however the bytes are cut."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from valve_loadgen.sse import SseParser

STREAM = (
    b": a comment\n\n"
    b"data: one\r\n\r\n"
    b"event: message\ndata: two\ndata: lines\n\n"
    b"id: 7\ndata:three\n\n"
    b"data: [DONE]\n\n"
    b"data: cut off"
)
PAYLOADS = [b"one", b"two\nlines", b"three", b"[DONE]"]


def test_comments_are_no_events() -> None:
    assert SseParser().feed(b":\n\n: ping\n\n") == []


@given(cuts=st.lists(st.integers(0, len(STREAM)), max_size=20))
def test_any_cut_gives_the_same_events(cuts: list[int]) -> None:
    parser, places = SseParser(), [0, *sorted(cuts), len(STREAM)]
    pieces = [STREAM[a:b] for a, b in itertools.pairwise(places)]
    assert [payload for piece in pieces for payload in parser.feed(piece)] == PAYLOADS
