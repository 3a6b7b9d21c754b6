"""Joining the client's trace, sampling, and what the engine is told."""

import re
from collections.abc import Mapping

import pytest

from valve_sidecar.trace import TraceContext, Tracer, parse_traceparent

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SAMPLED = {"traceparent": f"00-{TRACE}-{PARENT}-01"}


def begun(share: float, headers: Mapping[str, str]) -> TraceContext:
    context = Tracer(share).begin(headers)
    assert context is not None
    return context


def test_a_client_s_trace_is_joined_and_the_engine_becomes_our_child() -> None:
    context = begun(0.0, SAMPLED)
    assert (context.trace_id, context.parent_id) == (TRACE, PARENT)
    assert context.traceparent == f"00-{TRACE}-{context.span_id}-01"
    assert context.span_id != PARENT


def test_a_client_that_does_not_sample_is_followed() -> None:
    assert Tracer(1.0).begin({"traceparent": f"00-{TRACE}-{PARENT}-00"}) is None


@pytest.mark.parametrize(
    "header",
    [
        "",
        "nonsense",
        f"ff-{TRACE}-{PARENT}-01",
        f"00-{'0' * 32}-{PARENT}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE.upper()}-{PARENT}-01",
        f"00-{TRACE}-{PARENT}-01-more",
    ],
)
def test_an_invalid_header_begins_a_new_trace(header: str) -> None:
    context = begun(1.0, {"traceparent": header})
    assert context.parent_id == ""
    assert re.fullmatch("[0-9a-f]{32}", context.trace_id)
    assert context.trace_id != TRACE


def test_a_later_version_may_have_more_fields() -> None:
    assert parse_traceparent(f"01-{TRACE}-{PARENT}-03-more") == (TRACE, PARENT, 3)


def test_the_share_of_new_traces() -> None:
    assert Tracer(0.0).begin({}) is None
    half = Tracer(0.5)
    sampled = sum(half.begin({}) is not None for _ in range(4000))
    assert 1700 < sampled < 2300  # nine standard deviations


def test_ids_differ() -> None:
    tracer = Tracer(1.0)
    contexts = [tracer.begin({}) for _ in range(1000)]
    assert len({context.span_id for context in contexts if context}) == 1000
