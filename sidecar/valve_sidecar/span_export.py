"""The exporter's process: `python -m valve_sidecar.span_export ORDER`, started by span_feed.py only.

Reads batches of event records from standard input, sends their spans by OTLP/HTTP, and tells on standard
output what became of each batch. While a collector is slow or away nothing more is read: the event log of
the sidecar, which is bounded and counts what it drops, is the only queue.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import time
from collections.abc import Iterable, Iterator

import orjson
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.environment_variables import OTEL_EXPORTER_OTLP_TIMEOUT
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from . import semconv
from .logs import log_like_a_service
from .span_feed import ExportOrder
from .spans import Attributes, Record, SpanBuilder

log = logging.getLogger(__name__)
TIMEOUT_S = 5.0  # of one batch, retries included; OTEL_EXPORTER_OTLP_TIMEOUT wins
TRACES_PATH = "/v1/traces"
CLOCK_STEP_NS = 1_000_000  # the time of day moved against CLOCK_MONOTONIC by more than reading both costs


def batches(lines: Iterable[bytes]) -> Iterator[list[Record]]:
    """A line is a list of records; an empty line ends a batch, and so does the end."""
    records: list[Record] = []
    for line in lines:
        if line.strip():
            records += orjson.loads(line)
        else:
            yield records
            records = []
    if records:
        yield records


def make_builder(order: ExportOrder) -> SpanBuilder:
    name = os.environ.get("OTEL_SERVICE_NAME", "valve")
    resource = Resource.create({SERVICE_NAME: name, SERVICE_VERSION: order.version})
    scope = InstrumentationScope("valve", order.version, semconv.SCHEMA_URL)
    server: Attributes = {semconv.SERVER_ADDRESS: order.server_address}
    if order.server_port:
        server |= {semconv.SERVER_PORT: order.server_port}
    return SpanBuilder(resource, scope, server)


def make_exporter(order: ExportOrder) -> OTLPSpanExporter:
    timeout_s = None if OTEL_EXPORTER_OTLP_TIMEOUT in os.environ else TIMEOUT_S
    return OTLPSpanExporter(endpoint=order.endpoint.rstrip("/") + TRACES_PATH, timeout=timeout_s)


class Sender:
    """Sends a batch's spans, and says once when that begins to fail and when it works again."""

    def __init__(self, builder: SpanBuilder, exporter: OTLPSpanExporter, endpoint: str) -> None:
        self._builder, self._exporter, self._endpoint = builder, exporter, endpoint
        self._failing = False

    def send(self, records: list[Record]) -> dict[str, int]:
        """{"exported" or "export_failed": spans, "records": records}"""
        self._follow_clock()
        spans = [span for record in records for span in self._builder.build(record)]
        good = not spans or self._export(spans)
        return {"exported" if good else "export_failed": len(spans), "records": len(records)}

    def _follow_clock(self) -> None:
        """The same offset while it holds, so that moments that are equal stay equal."""
        offset_ns = time.time_ns() - time.monotonic_ns()
        if abs(offset_ns - self._builder.clock_offset_ns) > CLOCK_STEP_NS:
            self._builder.clock_offset_ns = offset_ns

    def _export(self, spans: list[ReadableSpan]) -> bool:
        good = self._exporter.export(spans) is SpanExportResult.SUCCESS
        if self._failing and good:
            log.warning("the collector at %s takes spans again", self._endpoint)
        elif not good and not self._failing:
            log.warning("the collector at %s does not take spans: they are lost meanwhile", self._endpoint)
        self._failing = not good
        return good


def main() -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # it ends with its input, after the last spans
    log_like_a_service("info")
    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)  # a line per attempt, else
    order = ExportOrder.decode(sys.argv[1])
    sender = Sender(make_builder(order), make_exporter(order), order.endpoint)
    for records in batches(sys.stdin.buffer):
        sys.stdout.buffer.write(orjson.dumps(sender.send(records)) + b"\n")
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    try:
        main()
    except BrokenPipeError:  # the sidecar is gone
        os._exit(1)
