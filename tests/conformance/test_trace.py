"""The client's trace headers: untouched without a trace of ours, ours in their place with one."""

import pytest

from valve_sidecar.trace import TraceContext

from .conftest import Stage

CLIENTS = b"traceparent: 00-" + b"1" * 32 + b"-" + b"2" * 16 + b"-01"
REQUEST = b"POST / HTTP/1.1\r\nHost: x\r\n%s\r\ntracestate: a=1,b=2\r\nContent-Length: 0\r\n\r\n"


def test_without_a_trace_of_ours_they_pass_untouched(stage: Stage) -> None:
    stage.client(REQUEST % CLIENTS)
    _, got = stage.accept_request()
    assert got.head == REQUEST % CLIENTS
    assert stage.record.heads[0].headers.get("traceparent", "") == CLIENTS.decode().split(": ")[1]


@pytest.mark.parametrize("sent", [CLIENTS, CLIENTS.upper(), CLIENTS + b"\r\n" + CLIENTS, b"X-A: 1"])
def test_with_one_the_engine_is_our_child(stage: Stage, sent: bytes) -> None:
    stage.record.trace = TraceContext("a" * 32, "b" * 16)
    stage.client(REQUEST % sent)
    _, got = stage.accept_request()
    assert got.values("traceparent") == [f"00-{'a' * 32}-{'b' * 16}-01"]
    assert got.values("tracestate") == ["a=1,b=2"]


def test_what_is_no_inference_passes_untouched(stage: Stage) -> None:
    stage.record.trace = TraceContext("a" * 32, "b" * 16)
    stage.client(b"GET /health HTTP/1.1\r\nHost: x\r\n" + CLIENTS + b"\r\n\r\n")
    _, got = stage.accept_request()
    assert got.values("traceparent") == [CLIENTS.decode().split(": ")[1]]
