"""Which fields cross the proxy, and how they look on the other side."""

from valve_sidecar.flight import Head

from .conftest import Stage

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


def test_end_to_end_fields_keep_order_case_duplicates_and_bytes(stage: Stage) -> None:
    fields = (
        b"X-B: 2\r\nhOsT: engine.example:1\r\naUTHORIZATION: Bearer s3cret\r\nX-A: 1\r\nX-B: 3\r\n"
        b"Cookie: a=b; c=d\r\nX-Latin: caf\xe9\r\nX-Empty: \r\nAccept-Encoding: zstd\r\n"
    )
    stage.client(b"GET /a%20b/../c//d?q=%2F&r=a+b HTTP/1.1\r\n" + fields + b"\r\n")
    _, got = stage.accept_request()
    assert got.head == b"GET /a%20b/../c//d?q=%2F&r=a+b HTTP/1.1\r\n" + fields + b"\r\n"


def test_response_fields_keep_order_case_duplicates_and_bytes(stage: Stage) -> None:
    response = (
        b"HTTP/1.1 299 Quite Fine\r\nset-cookie: a=1\r\nX-B: caf\xe9\r\nSet-Cookie: b=2\r\nDATE: now\r\n"
        b"content-length: 0\r\nServer: engine\r\n\r\n"
    )
    client = stage.client(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    engine, _ = stage.accept_request()
    engine.send(response)
    assert client.read_head().head == response


def test_hop_by_hop_fields_of_a_request_stay_behind(stage: Stage) -> None:
    stage.client(
        b"GET / HTTP/1.1\r\nHost: x\r\nConnection: keep-alive, X-Secret , te\r\nX-Secret: 1\r\nX-Kept: 1\r\n"
        b"Keep-Alive: timeout=5\r\nTE: trailers\r\nProxy-Authorization: Basic eA==\r\n"
        b"Proxy-Connection: close\r\nUpgrade: h2c\r\nHTTP2-Settings: AA\r\nTrailer: X-Sum\r\n\r\n"
    )
    _, got = stage.accept_request()
    assert got.fields == [("Host", "x"), ("X-Kept", "1")]


def test_hop_by_hop_fields_of_a_response_stay_behind(stage: Stage) -> None:
    client = stage.client(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    engine, _ = stage.accept_request()
    engine.send(
        b"HTTP/1.1 200 OK\r\nConnection: keep-alive, X-Secret\r\nX-Secret: 1\r\nX-Kept: 1\r\n"
        b"Keep-Alive: timeout=5\r\nProxy-Authenticate: Basic\r\nUpgrade: h2c\r\nContent-Length: 0\r\n\r\n"
    )
    assert client.read_head().fields == [("X-Kept", "1"), ("Content-Length", "0")]


def test_connection_cannot_name_away_what_frames_or_routes_a_request(stage: Stage) -> None:
    stage.client(
        b"POST / HTTP/1.1\r\nHost: x\r\nConnection: content-length, host\r\nContent-Length: 3\r\n\r\nabc"
    )
    _, got = stage.accept_request()
    assert (got.values("host"), got.body) == (["x"], b"abc")


def test_close_is_between_two_neighbours_only(stage: Stage) -> None:
    client = stage.client(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    engine, got = stage.accept_request()
    assert got.values("connection") == []
    engine.send(OK)
    assert client.read_head().values("connection") == ["close"]
    assert client.read_to_end() == b""
    stage.client(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    assert engine.read_head().first == "GET / HTTP/1.1", "the engine's connection lives on"


def test_an_engine_that_closes_does_not_close_the_client(stage: Stage) -> None:
    client = stage.client(b"GET /1 HTTP/1.1\r\nHost: x\r\n\r\n")
    engine, _ = stage.accept_request()
    engine.send(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
    engine.close()
    assert client.read_head().values("connection") == []
    client.send(b"GET /2 HTTP/1.1\r\nHost: x\r\n\r\n")
    engine, got = stage.accept_request()
    assert got.first == "GET /2 HTTP/1.1"
    engine.send(OK)
    assert client.read_head().status == 200


def test_the_intake_sees_the_head(stage: Stage) -> None:
    stage.client(
        b"POST http://elsewhere.example/v1/completions?a=1 HTTP/1.1\r\nHost: x\r\nX-Request-ID: 7\r\n"
    )
    client = stage.client(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
    engine, _ = stage.accept_request()
    engine.send(OK)
    client.read_head()
    (head,) = stage.record.heads
    assert isinstance(head, Head)
    assert (head.method, head.path, head.upgrade) == ("GET", "/metrics", False)
    assert head.readable_ns > 0


def test_arrival_is_the_end_of_the_head_not_of_the_body(stage: Stage) -> None:
    client = stage.client(b"POST /v1/completions?x=1 HTTP/1.1\r\nHost: x\r\nx-request-id: 7\r\n")
    client.send(b"Content-Length: 100\r\n\r\n")
    flight = stage.record.arrived.get(timeout=10)
    head = stage.record.heads[0]
    assert head.path == flight.path == "/v1/completions"
    assert head.headers.get("X-Request-Id") == "7"
    engine = stage.accept()
    engine.read_head()
    client.close()
    assert engine.sees_close()
