"""The pure rules: which fields travel, how bodies are framed, what heads look like."""

import pytest

from valve_sidecar.headers import (
    HOP_BY_HOP,
    Framing,
    end_to_end,
    members,
    request_framing,
    request_head,
    response_framing,
    response_head,
    values,
    without,
)

LENGTH = ((b"Content-Length", b"3"),)
NO_FIELDS: tuple[tuple[bytes, bytes], ...] = ()


def test_values_members_without() -> None:
    raw = ((b"A", b"x, Y ,,"), (b"b", b"1"), (b"a", b"z"))
    assert values(raw, b"a") == [b"x, Y ,,", b"z"]
    assert members(raw, b"a") == {b"x", b"y", b"z"}
    assert without(raw, b"a") == [(b"b", b"1")]


@pytest.mark.parametrize("name", sorted(HOP_BY_HOP))
def test_hop_by_hop_fields_stay_behind_in_any_case(name: bytes) -> None:
    for spelling in (name, name.upper(), name.title()):
        assert end_to_end([(spelling, b"x"), (b"Kept", b"y")]) == [(b"Kept", b"y")]


def test_what_connection_names_stays_behind() -> None:
    raw = [
        (b"Connection", b"close, X-A"),
        (b"x-a", b"1"),
        (b"connection", b"X-B"),
        (b"X-B", b"2"),
        (b"X-C", b"3"),
    ]
    assert end_to_end(raw) == [(b"X-C", b"3")]


@pytest.mark.parametrize("name", [b"Host", b"Content-Length"])
def test_connection_cannot_name_these(name: bytes) -> None:
    assert end_to_end([(b"Connection", name), (name, b"1")]) == [(name, b"1")]


def test_proxy_status_is_end_to_end() -> None:
    assert end_to_end([(b"Proxy-Status", b"x")]) == [(b"Proxy-Status", b"x")]


def test_request_framing() -> None:
    assert request_framing(NO_FIELDS, chunked=False) is Framing.NONE
    assert request_framing(LENGTH, chunked=False) is Framing.LENGTH
    assert request_framing(NO_FIELDS, chunked=True) is Framing.CHUNKED


@pytest.mark.parametrize(
    ("raw", "method", "status", "chunked", "http10", "framing"),
    [
        (LENGTH, "GET", 200, False, False, Framing.LENGTH),
        (LENGTH, "GET", 200, False, True, Framing.LENGTH),
        (NO_FIELDS, "GET", 200, True, False, Framing.CHUNKED),
        (NO_FIELDS, "GET", 200, True, True, Framing.UNTIL_CLOSE),
        (NO_FIELDS, "GET", 200, False, False, Framing.CHUNKED),
        (NO_FIELDS, "GET", 200, False, True, Framing.UNTIL_CLOSE),
        (LENGTH, "GET", 200, True, False, Framing.CHUNKED),
        (LENGTH, "HEAD", 200, False, False, Framing.NONE),
        (NO_FIELDS, "HEAD", 200, True, False, Framing.NONE),
        (LENGTH, "GET", 304, False, False, Framing.NONE),
        (NO_FIELDS, "POST", 204, False, False, Framing.NONE),
        (NO_FIELDS, "POST", 103, False, False, Framing.NONE),
    ],
)
def test_response_framing(
    raw: tuple[tuple[bytes, bytes], ...],
    method: str,
    status: int,
    chunked: bool,
    http10: bool,
    framing: Framing,
) -> None:
    assert response_framing(raw, method=method, status=status, chunked=chunked, http10=http10) is framing


def test_request_head_is_as_it_came() -> None:
    raw = ((b"hOST", b"x"), (b"B", b"caf\xe9"), (b"A", b""), (b"B", b"2"))
    head = request_head("GET /\udce9 HTTP/1.1", raw, Framing.NONE, host="unused")
    assert head == b"GET /\xe9 HTTP/1.1\r\nhOST: x\r\nB: caf\xe9\r\nA: \r\nB: 2\r\n\r\n"


def test_request_head_gets_the_host_that_it_lacks() -> None:
    assert (
        request_head("GET / HTTP/1.1", NO_FIELDS, Framing.NONE, host="e:1")
        == b"GET / HTTP/1.1\r\nHost: e:1\r\n\r\n"
    )


def test_chunks_and_a_length_never_go_out_together() -> None:
    raw = ((b"Host", b"x"), *LENGTH)
    assert b"Content-Length" not in request_head("GET / HTTP/1.1", raw, Framing.CHUNKED, host="")
    for framing in (Framing.CHUNKED, Framing.UNTIL_CLOSE):
        assert b"Content-Length" not in response_head("HTTP/1.1 200 OK", LENGTH, framing, 200)


def test_response_head_of_bodiless_responses() -> None:
    assert b"Content-Length: 3" in response_head("HTTP/1.1 304 Not Modified", LENGTH, Framing.NONE, 304)
    assert b"Content-Length" not in response_head("HTTP/1.1 204 No Content", LENGTH, Framing.NONE, 204)


def test_response_head_with_our_own_fields() -> None:
    raw = ((b"Connection", b"keep-alive"), (b"X", b"y"))
    head = response_head("HTTP/1.1 200 OK", raw, Framing.CHUNKED, 200, ((b"Connection", b"close"),))
    assert head == b"HTTP/1.1 200 OK\r\nX: y\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"


def test_equal_lengths_become_one_and_different_ones_are_refused() -> None:
    head = response_head("HTTP/1.1 200 OK", LENGTH * 2, Framing.LENGTH, 200)
    assert head.count(b"Content-Length: 3") == 1
    with pytest.raises(ValueError, match="contradicting"):
        response_head("HTTP/1.1 200 OK", (*LENGTH, (b"content-length", b"4")), Framing.LENGTH, 200)


def test_a_carriage_return_in_a_value_is_refused() -> None:
    with pytest.raises(ValueError, match="carriage return"):
        response_head("HTTP/1.1 200 OK", ((b"X", b"a\rSet-Cookie: b"),), Framing.NONE, 200)
