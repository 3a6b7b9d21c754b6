"""Records in, spans out: what is complete, what is left out, and how they hang together."""

from typing import Any

import orjson
import pytest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from valve_sidecar.answer import Answer
from valve_sidecar.events import EventLog
from valve_sidecar.flight import Flight, Outcome
from valve_sidecar.span_export import batches
from valve_sidecar.spans import SpanBuilder
from valve_sidecar.trace import TraceContext

TRACE, SPAN, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7", "b7ad6b7169203331"
SERVER = {"server.address": "127.0.0.1", "server.port": 8000}
MS = 1_000_000


def builder(offset_ns: int = 0) -> SpanBuilder:
    made = SpanBuilder(Resource({}), InstrumentationScope("valve"), SERVER)
    made.clock_offset_ns = offset_ns
    return made


def flight(**changes: Any) -> Flight:
    made = Flight("r-1", "/v1/chat/completions", None, 100 * MS, engine="vllm", outcome=Outcome.COMPLETED)
    made.gate_ns, made.first_token_ns, made.last_token_ns = 101 * MS, 120 * MS, 180 * MS
    made.finished_ns, made.tokens, made.status = 200 * MS, 5, 200
    made.answer = Answer("qwen", "c-1", ("stop",), 7, streamed=True)
    made.trace = TraceContext(TRACE, SPAN, PARENT)
    for key, value in changes.items():
        setattr(made, key, value)
    return made


def record_of(made: Flight) -> dict[str, Any]:
    """As the exporter gets it: through the log and JSON."""
    log = EventLog()
    log.request(made)
    return dict(orjson.loads(orjson.dumps(log.since(0, 1)["events"]))[0])


def span_of(made: Flight) -> ReadableSpan:
    (span,) = builder().build(record_of(made))
    return span


def stopped(**changes: Any) -> dict[str, Any]:
    tenant = {
        "job": "batch",
        "rank": 0,
        "row": 3,
        "pid": 9,
        "mechanism": "channels",
        "level": "compute_halted",
    }
    moments = {"kind": "stopped", "t_ns": 102 * MS, "woken_ns": 101 * MS, "readable_ns": 100 * MS}
    cause = {"trace_id": TRACE, "span_id": SPAN, "latency_ns": 2 * MS, "generation": 5}
    return tenant | moments | cause | changes


def test_a_request() -> None:
    span = span_of(flight())
    assert (span.name, span.start_time, span.end_time) == ("chat qwen", 100 * MS, 200 * MS)
    assert span.parent is not None
    assert f"{span.parent.span_id:016x}" == PARENT
    assert span.parent.is_remote
    told = dict(span.attributes or {})
    assert told["gen_ai.response.time_to_first_chunk"] == 0.02
    assert told["valve.time_per_output_token"] == 0.02
    assert told["gen_ai.response.finish_reasons"] == ["stop"]
    assert told["server.port"] == 8000
    assert not told["valve.preempted"]
    assert "error.type" not in told


def test_what_an_engine_does_not_say_is_left_out() -> None:
    silent = span_of(flight(answer=Answer(), tokens=0, first_token_ns=0, last_token_ns=0))
    assert silent.name == "chat"
    unknown = ("gen_ai.request.model", "gen_ai.usage.input_tokens", "gen_ai.response.time_to_first_chunk")
    assert not set(unknown) & set(silent.attributes or {})


@pytest.mark.parametrize(
    ("changes", "error"),
    [({"status": 503}, "503"), ({"outcome": Outcome.CLIENT_GONE}, "client_gone")],
)
def test_errors(changes: dict[str, Any], error: str) -> None:
    span = span_of(flight(**changes))
    assert (span.attributes or {})["error.type"] == error
    assert not span.status.is_ok


def test_events_are_in_order() -> None:
    span = span_of(flight(closed_gate=True, preemption_ns=2 * MS))
    assert [event.name for event in span.events] == [
        "valve.gate.closed",
        "valve.tenants.halted",
        "first_token",
        "last_token",
    ]


def test_a_tenant_that_halts_before_the_close_is_stamped_halts_after_it() -> None:
    span = span_of(flight(closed_gate=True, gate_ns=101 * MS, preemption_ns=MS // 2))
    assert [event.name for event in span.events][:2] == ["valve.gate.closed", "valve.tenants.halted"]
    assert [event.timestamp for event in span.events][:2] == [100 * MS + MS // 2] * 2


def test_times_of_day() -> None:
    (span,) = builder(offset_ns=7).build(record_of(flight()))
    assert (span.start_time, span.events[0].timestamp) == (100 * MS + 7, 120 * MS + 7)


def test_without_a_trace_there_is_no_span() -> None:
    quiet = {key: value for key, value in stopped().items() if key != "trace_id"}
    assert builder().build(record_of(flight(trace=None))) == []
    assert builder().build(quiet) == []


def test_a_preemption_is_part_of_its_request_and_the_stop_a_trace_of_the_tenant() -> None:
    made = builder()
    (preempt,) = made.build(stopped())
    resumed = stopped(kind="resumed", t_ns=300 * MS, woken_ns=299 * MS, generation=6)
    stop, resume = made.build(resumed)
    assert (preempt.name, preempt.start_time, preempt.end_time) == ("preempt batch", 100 * MS, 102 * MS)
    assert preempt.parent is not None
    assert f"{preempt.parent.span_id:016x}" == SPAN
    assert (stop.name, stop.parent, stop.start_time, stop.end_time) == (
        "stopped batch",
        None,
        102 * MS,
        300 * MS,
    )
    assert (resume.name, resume.start_time, resume.end_time) == ("resume batch", 299 * MS, 300 * MS)
    assert resume.parent == stop.context
    for own in (stop, resume):
        assert [f"{link.context.span_id:016x}" for link in own.links] == [SPAN]
    assert made.build(resumed) == [], "told once"


def reclaimed(**changes: Any) -> dict[str, Any]:
    tenant = {"kind": "reclaimed", "device": "GPU-0", "job": "batch", "pid": 9, "pages": 8}
    moments = {"t_ns": 130 * MS, "noticed_ns": 110 * MS, "decided_ns": 105 * MS, "stopped_ns": 3 * MS}
    return tenant | moments | {"trace_id": TRACE, "span_id": SPAN} | changes


def test_a_reclaim_is_part_of_the_request_that_it_is_for_and_a_trace_of_the_tenant() -> None:
    reclaim, give_back = builder(offset_ns=7).build(reclaimed())
    times = (reclaim.start_time, reclaim.end_time)
    assert (reclaim.name, times) == ("reclaim batch", (105 * MS + 7, 130 * MS + 7))
    assert reclaim.parent is not None
    assert f"{reclaim.parent.span_id:016x}" == SPAN
    assert [event.timestamp for event in reclaim.events] == [110 * MS + 7]
    assert (give_back.name, give_back.parent) == ("give back batch", None)
    assert (give_back.start_time, give_back.end_time) == (110 * MS + 7, 130 * MS + 7)
    assert [f"{link.context.span_id:016x}" for link in give_back.links] == [SPAN]
    for span in (reclaim, give_back):
        told = dict(span.attributes or {})
        assert (told["valve.reclaim.pages"], told["valve.device"]) == (8, "GPU-0")
        assert (told["valve.reclaim.duration"], told["valve.reclaim.stopped"]) == (0.02, 0.003)


def test_a_reclaim_for_nobody_who_is_traced_has_no_span() -> None:
    assert builder().build({key: v for key, v in reclaimed().items() if key != "trace_id"}) == []


def test_the_cool_down_belongs_to_the_request_whose_end_began_it() -> None:
    made = builder()
    made.build(record_of(flight()))
    opened = {"kind": "open", "t_ns": 250 * MS, "generation": 6}
    (span,) = made.build(opened)
    assert (span.name, span.start_time, span.end_time) == ("cool-down", 200 * MS, 250 * MS)
    made.build(record_of(flight(trace=None)))
    assert made.build(opened) == [], "nobody traces the last one"


def test_batches_end_with_an_empty_line_or_the_input() -> None:
    lines = [b'[{"a":1}]\n', b'[{"a":2}]\n', b"\n", b"\n", b'[{"a":3}]\n']
    assert list(batches(lines)) == [[{"a": 1}, {"a": 2}], [], [{"a": 3}]]
