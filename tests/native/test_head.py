"""The strict grammar of heads, against h11: what we let pass, h11 reads, and reads the same way."""

import h11
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from .probe import Head, read_request, read_response

NAMES = st.sampled_from(
    [
        b"Host",
        b"Content-Length",
        b"content-length",
        b"Transfer-Encoding",
        b"Connection",
        b"Expect",
        b"X-A",
        b"Te",
        b"Content-Length ",
        b" Host",
        b"X\x00",
        b"",
        b"X:",
        b"Transfer-Encoding\t",
    ]
)
VALUES = st.one_of(
    st.sampled_from(
        [b"x", b"0", b"3", b"03", b"+3", b"-1", b"3, 3", b"0x3", b"3 ", b"", b"99999999999999999999"]
    ),
    st.sampled_from(
        [b"chunked", b"Chunked", b"gzip, chunked", b"identity", b"chunked, chunked", b"\x0bchunked"]
    ),
    st.sampled_from(
        [b"close", b"keep-alive", b"close, X-A", b"100-continue", b"a\rb", b"a\nb", b"a\x00", b"\xff"]
    ),
    st.binary(max_size=8),
)
LINE_ENDS = st.sampled_from([b"\r\n"] * 12 + [b"\n", b"\r", b"\r\n ", b"\r\r\n"])
TARGETS = st.one_of(
    st.sampled_from(
        [b"/", b"/v1/completions?x=1", b"*", b"http://a/b", b"http://a", b"//", b"/a b", b"a", b"/#", b""]
    ),
    st.binary(max_size=6),
)
FIRST_LINES = st.builds(
    lambda method, blank, target, version: method + blank + target + blank + version,
    st.sampled_from([b"GET", b"POST", b"HEAD", b"CONNECT", b"P\tST", b"", b"get"]),
    st.sampled_from([b" "] * 8 + [b"  ", b"\t", b""]),
    TARGETS,
    st.sampled_from(
        [b"HTTP/1.1"] * 8 + [b"HTTP/1.0", b"HTTP/2.0", b"HTTP/1.2", b"http/1.1", b"HTTP/1.", b""]
    ),
)


@st.composite
def heads(draw: st.DrawFn) -> bytes:
    fields = draw(st.lists(st.tuples(NAMES, st.sampled_from([b": ", b":", b" : "]), VALUES), max_size=4))
    lines = [b"Host: x"] * draw(st.integers(0, 5).map(bool)) + [b"".join(field) for field in fields]
    text = draw(FIRST_LINES) + b"\r\n" + b"".join(line + draw(LINE_ENDS) for line in lines)
    return text + draw(st.sampled_from([b"\r\n"] * 8 + [b"", b"\n", b"\r\n\r\n"]))


def read_by_h11(data: bytes) -> h11.Request:
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
    connection.receive_data(data)
    event = connection.next_event()
    assert isinstance(event, h11.Request), event
    return event


def framing(request: h11.Request) -> tuple[list[int], bool]:
    lengths = [int(value) for name, value in request.headers if name == b"content-length"]
    return lengths, any(name == b"transfer-encoding" for name, _ in request.headers)


@settings(deadline=None, max_examples=1500)
@given(heads())
def test_what_passes_is_read_the_same_way_by_h11(data: bytes) -> None:
    head = read_request(data)
    if not head.passes:
        return
    normal = b" ".join(data.partition(b"\r\n")[0].split()) + b"\r\n" + data.partition(b"\r\n")[2]
    request = read_by_h11(normal)
    assert request.method == data[: head.method_len]
    assert request.target.endswith(data[head.target_at : head.target_at + head.target_len])
    lengths, chunked = framing(request)
    assert (lengths, chunked) == ([head.length] if head.lengths else [], bool(head.chunked))
    assert data[head.taken - 4 : head.taken] == b"\r\n\r\n"


@settings(deadline=None, max_examples=500)
@given(heads(), st.integers(0, 400))
def test_a_head_that_is_cut_is_incomplete_or_refused_but_never_another_one(data: bytes, cut: int) -> None:
    whole, part = read_request(data), read_request(data[:cut])
    if part.taken > 0:
        assert part.taken == whole.taken
    if whole.passes and cut < whole.taken:
        assert part.taken == 0


@settings(deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes_are_survived(data: bytes) -> None:
    for head in (read_request(data), read_response(data), read_request(b"GET / HTTP/1.1\r\n" + data)):
        assert head.taken <= len(data) + 16


def outcome(head: Head) -> str:
    if head.taken == 0:
        return "incomplete"
    return "passes" if head.passes else "refused"


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        (b"Content-Length: 5", "passes"),
        (b"Content-Length: 5\r\nContent-Length: 5", "refused"),
        (b"Content-Length: 999999999999999999", "passes"),
        (b"Content-Length: 9999999999999999999", "refused"),
        (b"Transfer-Encoding: chunked\r\nContent-Length: 5", "refused"),
        (b"X: \x80\xff", "passes"),
        (b"X: \x7f", "refused"),
        (b"X:", "passes"),
        (b"X", "refused"),
        (b"X: y\r\n z", "refused"),
    ],
)
def test_fields(field: bytes, expected: str) -> None:
    assert outcome(read_request(b"POST / HTTP/1.1\r\nHost: x\r\n" + field + b"\r\n\r\n")) == expected


def test_limits() -> None:
    start = b"GET / HTTP/1.1\r\nHost: x\r\n"
    assert read_request(start + b"X: y\r\n" * 255 + b"\r\n").passes
    assert read_request(start + b"X: y\r\n" * 256 + b"\r\n").taken == -2
    assert read_request(start + b"X: " + b"y" * 65_000 + b"\r\n\r\n").passes
    assert read_request(start + b"X: " + b"y" * 66_000 + b"\r\n\r\n").taken == -2
    assert read_request(start + b"X: " + b"y" * 66_000).taken == -2


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\n", "passes"),
        (b"HTTP/1.1 200\r\n\r\n", "passes"),
        (b"HTTP/1.0 404 Not Found\r\nA: b\r\n\r\n", "passes"),
        (b"HTTP/1.1 99 Low\r\n\r\n", "refused"),
        (b"HTTP/1.1 2000 High\r\n\r\n", "refused"),
        (b"HTTP/2 200 OK\r\n\r\n", "refused"),
        (b"HTTP/1.1 200 OK\n\n", "refused"),
        (b"HTTP/1.1 200 OK\r\nA: b", "incomplete"),
    ],
)
def test_status_lines(data: bytes, expected: str) -> None:
    assert outcome(read_response(data)) == expected
