"""The constant engine's framing: it is what stands behind the proxy benchmark."""

import pytest

from valve_loadgen.constant_engine import request_end

GET = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc"
CHUNKED = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
EMPTY = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"


@pytest.mark.parametrize("request_bytes", [GET, POST, CHUNKED, EMPTY])
def test_a_request_ends_where_it_does(request_bytes: bytes) -> None:
    assert request_end(request_bytes + GET) == len(request_bytes)
    assert all(request_end(request_bytes[:cut]) is None for cut in range(len(request_bytes)))
