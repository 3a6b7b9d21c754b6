"""Traces of real requests and tenants, at real OTLP receivers: whole, bounded, and never in the way."""

import asyncio
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status
from oteltap import OtelTapHttpProtobufReceiver, OtelTapHttpProtobufReceiverSettings

from valve_sidecar.config import DATA_PLANES
from valve_sidecar.span_feed import NICE

from .collector import Collector, attributes
from .stage import Request, Sidecar, Stage, wait_until

pytestmark = pytest.mark.integration

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
HEADER = {"traceparent": f"00-{TRACE}-{PARENT}-01"}


@pytest.fixture(params=DATA_PLANES)
def data_plane(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VALVE_DATA_PLANE", request.param)


@pytest.fixture
def collector() -> Iterator[Collector]:
    collector = Collector()
    yield collector
    collector.close()


def ask(sidecar: Sidecar, headers: dict[str, str] | None = None) -> httpx.Response:
    body = {"model": "m", "prompt": "s3cret prompt"}
    return httpx.post(f"{sidecar.listen}/v1/chat/completions", json=body, headers=headers, timeout=20)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return int(sock.getsockname()[1])


def logged_by(sidecar: Sidecar) -> list[dict[str, Any]]:
    return [orjson.loads(line) for line in sidecar.lines if line.startswith("{")]


def traced_counts(sidecar: Sidecar) -> dict[str, int]:
    return dict(sidecar.state()["traces"])


@pytest.mark.usefixtures("data_plane")
def test_a_request_that_preempts_is_told_whole(stage: Stage, collector: Collector) -> None:
    options = ("--otlp-endpoint", collector.url, "--log-level", "debug")
    sidecar, tenant = stage.sidecar(*options), stage.tenant()
    tenant.wait_running()
    sidecar.wait_tenant_seen()
    request = Request(sidecar.listen, "r-1", HEADER)
    request.wait_first_token()
    tenant.wait_stopped()
    stage.engine.release.set()
    request.wait_done()
    wait_until(lambda: collector.named("stopped"), "the tenant's span")
    (chat,), (preempt,) = collector.named("chat"), collector.named("preempt")
    (stopped,), (cooldown,) = collector.named("stopped"), collector.named("cool-down")
    assert (chat.trace_id.hex(), chat.parent_span_id.hex()) == (TRACE, PARENT)
    assert chat.kind == Span.SPAN_KIND_CLIENT
    events = [event.name for event in chat.events]
    assert events[0] == "valve.gate.closed"
    assert set(events[1:3]) == {"valve.tenants.halted", "first_token"}, "either may be first"
    assert events[3:] == ["last_token"]
    told = attributes(chat)
    assert told["gen_ai.operation.name"] == "chat"
    assert told["gen_ai.request.model"] == "scripted"
    assert told["gen_ai.response.finish_reasons"] == ["stop"]
    assert (told["gen_ai.usage.input_tokens"], told["gen_ai.usage.output_tokens"]) == (3, 2)
    assert told["valve.preempted"]
    assert 0 < told["valve.preemption.duration"] < 20
    for child in (preempt, cooldown):
        assert (child.trace_id, child.parent_span_id) == (chat.trace_id, chat.span_id)
    assert attributes(preempt)["valve.tenant.job"] == "batch"
    assert stopped.trace_id != chat.trace_id
    assert [link.span_id for link in stopped.links] == [chat.span_id]
    assert stopped.start_time_unix_nano == preempt.end_time_unix_nano
    (resume,) = collector.named("resume")
    assert (resume.trace_id, resume.parent_span_id) == (stopped.trace_id, stopped.span_id)
    assert resume.end_time_unix_nano == stopped.end_time_unix_nano
    assert [link.span_id for link in resume.links] == [chat.span_id]
    scope = collector.received[0].scope_spans[0]
    assert scope.schema_url == "https://opentelemetry.io/schemas/gen-ai/1.42.0"
    (logged,) = (told for told in logged_by(sidecar) if told["message"].startswith("stopped batch"))
    assert (logged["trace_id"], logged["request_id"]) == (TRACE, "r-1"), "a line for each preemption"


@pytest.mark.usefixtures("data_plane")
def test_the_engine_is_told_our_span_and_nothing_of_the_content_is_exported(
    stage: Stage, collector: Collector
) -> None:
    stage.engine.release.set()
    sidecar = stage.sidecar("--otlp-endpoint", collector.url)
    ask(sidecar, HEADER)
    wait_until(lambda: collector.spans, "the span")
    (span,) = collector.named("chat")
    assert stage.engine.traceparents == [f"00-{TRACE}-{span.span_id.hex()}-01"]
    everything = b"".join(each.SerializeToString() for each in collector.received)
    assert b"s3cret" not in everything
    assert b"two" not in everything, "the answer's second token"


def test_off_by_default(stage: Stage) -> None:
    stage.engine.release.set()
    sidecar = stage.sidecar()
    ask(sidecar, HEADER)
    ask(sidecar)
    assert stage.engine.traceparents == [HEADER["traceparent"], None]
    assert traced_counts(sidecar) == {}
    assert sidecar.end() == 0
    assert logged_by(sidecar) == [], "nothing for a request"


def test_a_share_of_nothing_still_follows_clients_that_sample(stage: Stage, collector: Collector) -> None:
    stage.engine.release.set()
    sidecar = stage.sidecar("--otlp-endpoint", collector.url, "--trace-share", "0")
    ask(sidecar)
    ask(sidecar, HEADER)
    wait_until(lambda: collector.spans, "the span")
    assert [span.trace_id.hex() for span in collector.named("chat")] == [TRACE]
    assert stage.engine.traceparents[0] is None


def test_errors_are_errors(stage: Stage, collector: Collector) -> None:
    stage.engine.behave = "die"
    sidecar = stage.sidecar("--otlp-endpoint", collector.url)
    Request(sidecar.listen).join(20)
    wait_until(lambda: collector.spans, "the span")
    (span,) = collector.named("chat")
    assert span.status.code == Status.STATUS_CODE_ERROR
    assert attributes(span)["error.type"] == "upstream_failed"


@pytest.mark.parametrize("compression", ["none", "gzip"])
def test_compression_as_the_standard_variables_say(
    stage: Stage, collector: Collector, monkeypatch: pytest.MonkeyPatch, compression: str
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", compression)
    stage.engine.release.set()
    ask(stage.sidecar("--otlp-endpoint", collector.url))
    wait_until(lambda: collector.spans, "the span")
    assert collector.encodings == ["gzip" if compression == "gzip" else ""]


async def test_a_receiver_that_is_not_ours(stage: Stage) -> None:
    port = free_port()
    stage.engine.release.set()
    async with OtelTapHttpProtobufReceiver(OtelTapHttpProtobufReceiverSettings(port)) as tap:
        sidecar = await asyncio.to_thread(stage.sidecar, "--otlp-endpoint", f"http://127.0.0.1:{port}")
        waiting = asyncio.create_task(tap.await_trace(lambda span: span.trace_id.hex() == TRACE, 20))
        await asyncio.to_thread(ask, sidecar, HEADER)
        span = await waiting
    assert span.name == "chat scripted"
    assert attributes(span)["gen_ai.provider.name"] == "openai"


def test_a_collector_that_is_down_costs_spans_and_nothing_else(stage: Stage) -> None:
    port = free_port()
    stage.engine.release.set()
    sidecar = stage.sidecar("--otlp-endpoint", f"http://127.0.0.1:{port}")
    assert ask(sidecar).status_code == 200
    wait_until(lambda: traced_counts(sidecar).get("export_failed"), "the loss is counted")
    assert sum("does not take spans" in line for line in sidecar.lines) == 1
    late = Collector(port)
    try:
        wait_until(lambda: ask(sidecar) and late.spans, "spans flow once it is up")
    finally:
        late.close()


def test_a_collector_that_never_answers_holds_nothing_up(
    stage: Stage, collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
    collector.answering.clear()
    stage.engine.release.set()
    sidecar = stage.sidecar("--otlp-endpoint", collector.url)
    ask(sidecar)
    assert collector.asked.acquire(timeout=20)
    assert all(ask(sidecar).status_code == 200 for _ in range(20))
    assert sidecar.end() == 0


def test_the_last_spans_are_exported_before_the_end(stage: Stage, collector: Collector) -> None:
    stage.engine.release.set()
    sidecar = stage.sidecar("--otlp-endpoint", collector.url)
    for _ in range(5):
        ask(sidecar)
    assert sidecar.end() == 0
    assert len(collector.named("chat")) == 5


def test_an_exporter_that_is_killed_is_started_again(stage: Stage, collector: Collector) -> None:
    stage.engine.release.set()
    sidecar = stage.sidecar("--otlp-endpoint", collector.url)
    ask(sidecar)
    wait_until(lambda: collector.spans, "the first span")
    sidecar.kill_child("valve_sidecar.span_export")
    wait_until(lambda: ask(sidecar) and len(collector.named("chat")) > 1, "spans flow again")


def test_what_looks_on_gives_way_to_what_carries_requests(stage: Stage, collector: Collector) -> None:
    pid = stage.sidecar("--otlp-endpoint", collector.url, "--data-plane", "native").process.pid
    threads = {int(each.name): (each / "comm").read_text() for each in Path(f"/proc/{pid}/task").iterdir()}
    (plane,) = (thread for thread, name in threads.items() if name == "valve-plane\n")
    wait_until(lambda: os.sched_getscheduler(pid) == os.SCHED_BATCH, "the interpreter gives way")
    policy = os.sched_getscheduler(plane) & ~os.SCHED_RESET_ON_FORK
    assert policy in (os.SCHED_OTHER, os.SCHED_FIFO), "as it was, or before everybody where that is permitted"

    def exporters() -> list[int]:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return [int(child) for child in children if os.getpriority(os.PRIO_PROCESS, int(child)) >= NICE]

    wait_until(exporters, "so does the exporter")


def test_workers_export_through_their_supervisor(stage: Stage, collector: Collector) -> None:
    stage.engine.release.set()
    sidecar = stage.sidecar("--otlp-endpoint", collector.url, "--workers", "2")
    for _ in range(6):
        ask(sidecar)
    wait_until(lambda: len(collector.named("chat")) == 6, "all spans")
    assert traced_counts(sidecar)["exported"] >= 6
