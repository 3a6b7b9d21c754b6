"""A small real OTLP/HTTP collector: takes protobuf, plain or gzip, and can be made slow or failing."""

from __future__ import annotations

import gzip
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, Span


class Collector:
    """`spans` grows as they come. `status`: what is answered; clear `answering` and nobody gets an answer."""

    def __init__(self, port: int = 0) -> None:
        self.status = 200
        self.answering = threading.Event()
        self.answering.set()
        self.asked = threading.Semaphore(0)
        self.encodings: list[str] = []
        self.received: list[ResourceSpans] = []
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                collector.take(self, self.rfile.read(int(self.headers["Content-Length"])))

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def spans(self) -> list[Span]:
        return [span for each in self.received for scope in each.scope_spans for span in scope.spans]

    def named(self, start: str) -> list[Span]:
        return [span for span in self.spans if span.name.startswith(start)]

    def take(self, request: BaseHTTPRequestHandler, body: bytes) -> None:
        self.asked.release()
        self.answering.wait(60)
        encoding = request.headers.get("Content-Encoding", "")
        if self.status == 200:
            self.encodings.append(encoding)
            text = gzip.decompress(body) if encoding == "gzip" else body
            self.received += ExportTraceServiceRequest.FromString(text).resource_spans
        answer = ExportTraceServiceResponse().SerializeToString()
        try:
            request.send_response(self.status)
            request.send_header("Content-Type", "application/x-protobuf")
            request.send_header("Content-Length", str(len(answer)))
            request.end_headers()
            request.wfile.write(answer)
        except OSError:
            pass  # it did not wait for the answer

    def close(self) -> None:
        self.answering.set()
        self._server.shutdown()
        self._server.server_close()


def attributes(span: Span) -> dict[str, Any]:
    """As plain values."""
    found = {}
    for attribute in span.attributes:
        kind = attribute.value.WhichOneof("value")
        assert kind is not None
        value = getattr(attribute.value, kind)
        found[attribute.key] = (
            [item.string_value for item in value.values] if kind == "array_value" else value
        )
    return found
