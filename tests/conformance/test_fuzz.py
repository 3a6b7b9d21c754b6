"""Messages made by a grammar, with faults: what reaches the other side is one message that reads one way.

Both sides are compared with h11, which is strict. Whatever comes, the proxy answers the next client.
"""

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from .planes import LENIENT_TO_ENGINES, PLANES, Running
from .record import Record
from .strict import OK, StrictEngine, ask, read_requests

END = b"\r\n\r\n"
FUZZ = settings(
    deadline=None,
    max_examples=150,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
FRAMINGS = st.sampled_from(
    [b"Content-Length: 5", b"Content-Length: 05", b"Transfer-Encoding: chunked", b"transfer-encoding:chunked"]
    * 3
    + [b"Content-Length: 5\r\nContent-Length: 5", b"Content-Length: 5, 5", b"Content-Length : 5"]
    + [b"Transfer-Encoding: chunked\r\nContent-Length: 5", b"Transfer-Encoding: xchunked", b"X: y\rZ: 1"]
    + [b"Transfer-Encoding: chunked, chunked", b"Transfer-Encoding:\x0bchunked", b" Content-Length: 5", b""]
)
FIELDS = st.lists(
    st.sampled_from(
        [b"X-A: 1", b"X-Latin: \xe9", b"Connection: keep-alive, x-a", b"Expect: nothing", b"X-Empty:"]
    ),
    max_size=3,
)
CHUNKS = st.sampled_from(
    [
        b"5\r\nhello\r\n0\r\n\r\n",
        b"2;x=y\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n",
        b"5\r\nhello\r\n0\r\nX-T: 1\r\n\r\n",
    ]
    * 2
    + [
        b"5\nhello\r\n0\r\n\r\n",
        b"0x5\r\nhello\r\n0\r\n\r\n",
        b"6\r\nhello\r\n0\r\n\r\n",
        b"5\r\nhello\r\n0\r\n\r",
    ]
    + [
        b"hello",
        b"",
        b"5\r\nhello\r\n0\r\nContent-Length: 1\r\n\r\n",
        b"-5\r\nhello\r\n",
        b"5 \r\nhello\r\n0\r\n\r\n",
    ]
)
HIDDEN = b"POST /hidden HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    line = draw(
        st.sampled_from([b"POST /v1/completions HTTP/1.1", b"GET /?a=b HTTP/1.1", b"POST / HTTP/1.0"])
    )
    lines = [line, b"Host: x", *draw(FIELDS), draw(FRAMINGS)]
    message = b"\r\n".join(filter(None, lines)) + END + draw(CHUNKS) + draw(st.sampled_from([b"", HIDDEN]))
    if draw(st.booleans()):
        return message
    at = draw(st.integers(0, len(message)))
    return message[:at] + draw(st.binary(max_size=3)) + message[at + draw(st.integers(0, 2)) :]


@st.composite
def responses(draw: st.DrawFn) -> bytes:
    line = draw(
        st.sampled_from([b"HTTP/1.1 200 OK"] * 4 + [b"HTTP/1.0 200 OK", b"HTTP/1.1 204 No", b"HTTP/1.1 500 "])
    )
    message = b"\r\n".join(filter(None, [line, *draw(FIELDS), draw(FRAMINGS)])) + END + draw(CHUNKS)
    if draw(st.booleans()):
        return message
    at = draw(st.integers(0, len(message)))
    return message[:at] + draw(st.binary(max_size=3)) + message[at + draw(st.integers(0, 2)) :]


class Arena:
    def __init__(self, plane: str) -> None:
        self.plane, self.engine, self.record = plane, StrictEngine(), Record()
        self.proxy = Running(PLANES[plane], "127.0.0.1:0", self.engine.engine.address, self.record, 5)

    def still_serves(self) -> bool:
        self.engine.answer, self.engine.closes = OK, False
        answer = ask(self.proxy.address, b"GET /alive HTTP/1.1\r\nHost: x\r\n\r\n")
        return answer is not None and answer.body == b"ok"


@pytest.fixture(scope="module", params=PLANES)
def arena(request: pytest.FixtureRequest) -> Iterator[Arena]:
    arena = Arena(request.param)
    yield arena
    arena.proxy.stop()
    arena.engine.close()


@FUZZ
@given(data=requests())
def test_what_reaches_the_engine_reads_one_way(arena: Arena, data: bytes) -> None:
    arena.engine.forget()
    ask(arena.proxy.address, data + b"\r\n" * 8)
    theirs = {(seen.method, seen.body) for seen in read_requests(normal(data) + b"\r\n" * 8)}
    for received in arena.engine.received:
        for seen in read_requests(received):
            assert (seen.method, seen.body) in theirs, f"{seen} was never sent"
    assert arena.still_serves()


def normal(data: bytes) -> bytes:
    """h11 takes one blank only, and a bare line feed for a line end, where we take more, and no such."""
    line, end, rest = data.partition(b"\r\n")
    return b" ".join(line.split()) + end + rest


@FUZZ
@given(data=responses())
def test_what_reaches_the_client_is_the_engines_or_a_clear_refusal(arena: Arena, data: bytes) -> None:
    if arena.plane in LENIENT_TO_ENGINES:
        pytest.skip("its parser of responses is lenient")
    arena.engine.answer, arena.engine.closes = data, True
    answer = ask(arena.proxy.address, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    direct = ask(arena.engine.engine.address, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    if answer is not None and answer.complete and answer.status not in (502, 504):
        assert direct is not None
        assert (answer.status, answer.body) == (direct.status, direct.body)
    assert arena.still_serves()
