"""Makes OpenTelemetry spans out of the event log's records: requests, preemptions, stops, cool-downs,
reclaims.

Pure: a record in, the spans that are complete by it out. Only the exporter's process imports this module.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags
from opentelemetry.util.types import AttributeValue

from . import semconv

Record = dict[str, Any]
Attributes = dict[str, AttributeValue]
Tenant = tuple[int, int]  # row and pid


class SpanBuilder:
    """`server`: the engine's address and port; `clock_offset_ns` makes CLOCK_MONOTONIC into time of day."""

    def __init__(self, resource: Resource, scope: InstrumentationScope, server: Attributes) -> None:
        self._resource, self._scope, self._server = resource, scope, server
        self._stops: dict[Tenant, Record] = {}  # stops that answer a traced request, until they are over
        self._last_request: Record | None = None
        self.clock_offset_ns = 0

    def build(self, record: Record) -> list[ReadableSpan]:
        match record["kind"]:
            case "request":
                self._last_request = record
                return [self._request(record)] if "trace_id" in record else []
            case "stopped":
                return self._stopped(record)
            case "resumed":
                stop = self._stops.pop((record["row"], record["pid"]), None)
                return self._stop_time(stop, record) if stop is not None else []
            case "open":
                return self._opened(record)
            case "reclaimed":
                return self._reclaimed(record)
            case _:
                return []

    # ---- a request ----

    def _request(self, record: Record) -> ReadableSpan:
        operation = semconv.operation_of(record["path"])
        error = error_of(record)
        return self._span(
            f"{operation} {record['model']}".rstrip(),
            context_of(record),
            parent_of(record),
            record["readable_ns"],
            record["finished_ns"],
            attributes=request_attributes(record, operation) | self._server,
            events=self._request_events(record),
            kind=SpanKind.CLIENT,
            status=Status(StatusCode.ERROR, error) if error else Status(),
        )

    def _request_events(self, record: Record) -> list[Event]:
        halted_ns = record["readable_ns"] + record["preemption_ns"] if record["preemption_ns"] else 0
        closed_ns = record["gate_ns"] if record["closed_gate"] else 0
        if halted_ns:  # a close is stamped after its store: tenants can be quicker than the stamp
            closed_ns = min(closed_ns, halted_ns)
        moments = [("valve.gate.closed", closed_ns), ("valve.tenants.halted", halted_ns)]
        moments += [("first_token", record["first_token_ns"]), ("last_token", record["last_token_ns"])]
        happened = sorted((t_ns, name) for name, t_ns in moments if t_ns)
        return [Event(name, timestamp=t_ns + self.clock_offset_ns) for t_ns, name in happened]

    # ---- a tenant ----

    def _stopped(self, record: Record) -> list[ReadableSpan]:
        if "trace_id" not in record:
            return []
        self._stops[record["row"], record["pid"]] = record
        cause = context_of(record)
        span = self._span(
            f"preempt {record['job']}",
            new_context(cause.trace_id),
            cause,
            record["readable_ns"],
            record["t_ns"],
            attributes=tenant_attributes(record) | {"valve.preemption.duration": record["latency_ns"] / 1e9},
            events=[Event("valve.agent.woken", timestamp=record["woken_ns"] + self.clock_offset_ns)],
        )
        return [span]

    def _stop_time(self, stop: Record, resume: Record) -> list[ReadableSpan]:
        """The tenant's own view, a trace of its own: for how long it stood still, because of whom, and how
        long its resumption took.
        """
        own, done_ns, links = new_context(), resume["t_ns"], [Link(context_of(stop))]
        told = tenant_attributes(stop)
        resumed = told | {"valve.gate.generation": resume["generation"]}
        told |= {"valve.resume.generation": resume["generation"]}
        child, name = new_context(own.trace_id), f"resume {stop['job']}"
        return [
            self._span(f"stopped {stop['job']}", own, None, stop["t_ns"], done_ns, told, links=links),
            self._span(name, child, own, resume["woken_ns"], done_ns, resumed, links=links),
        ]

    def _reclaimed(self, record: Record) -> list[ReadableSpan]:
        """As a stop: in the request's trace from the decision on, and the tenant's own view."""
        if "trace_id" not in record:
            return []
        cause, told = context_of(record), reclaim_attributes(record)
        noticed_ns, done_ns = record["noticed_ns"], record["t_ns"]
        events = [Event("valve.pool.woken", timestamp=noticed_ns + self.clock_offset_ns)]
        child, own = new_context(cause.trace_id), new_context()
        name = f"reclaim {record['job']}"
        return [
            self._span(name, child, cause, record["decided_ns"], done_ns, told, events),
            self._span(
                f"give back {record['job']}", own, None, noticed_ns, done_ns, told, links=[Link(cause)]
            ),
        ]

    def _opened(self, record: Record) -> list[ReadableSpan]:
        """The cool-down belongs to the request whose end began it; a slice has none."""
        last = self._last_request
        if (
            "slice_until_ns" in record
            or last is None
            or "trace_id" not in last
            or last["finished_ns"] > record["t_ns"]
        ):
            return []
        cause = context_of(last)
        generation = {"valve.gate.generation": record["generation"]}
        start_ns, end_ns = last["finished_ns"], record["t_ns"]
        return [self._span("cool-down", new_context(cause.trace_id), cause, start_ns, end_ns, generation)]

    def _span(
        self,
        name: str,
        context: SpanContext,
        parent: SpanContext | None,
        start_ns: int,
        end_ns: int,
        attributes: Mapping[str, AttributeValue],
        events: list[Event] | None = None,
        links: list[Link] | None = None,
        kind: SpanKind = SpanKind.INTERNAL,
        status: Status | None = None,
    ) -> ReadableSpan:
        return ReadableSpan(
            name,
            context,
            parent,
            self._resource,
            attributes,
            events or (),
            links or (),
            kind,
            status=status or Status(),
            start_time=start_ns + self.clock_offset_ns,
            end_time=end_ns + self.clock_offset_ns,
            instrumentation_scope=self._scope,
        )


def request_attributes(record: Record, operation: str) -> Attributes:
    """What is not known is left out."""
    first_ns, tokens = record["first_token_ns"], record["tokens"]
    streamed = record["streamed"] and first_ns
    rest_ns = record["finished_ns"] - first_ns
    found: dict[str, Any] = {
        semconv.OPERATION_NAME: operation,
        semconv.PROVIDER_NAME: record["engine"],
        semconv.REQUEST_MODEL: record["model"],
        semconv.RESPONSE_MODEL: record["model"],
        semconv.RESPONSE_ID: record["response_id"],
        semconv.FINISH_REASONS: record["finish_reasons"],
        semconv.INPUT_TOKENS: record["input_tokens"],
        semconv.OUTPUT_TOKENS: tokens,
        semconv.TIME_TO_FIRST_CHUNK: (first_ns - record["readable_ns"]) / 1e9 if streamed else None,
        semconv.ERROR_TYPE: error_of(record),
        semconv.HTTP_STATUS: record["status"],
        "valve.time_per_output_token": rest_ns / 1e9 / (tokens - 1) if streamed and tokens > 1 else None,
        "valve.request.id": record["request_id"],
        "valve.request.outcome": record["outcome"],
        "valve.gate.generation": record["generation"],
        "valve.preemption.duration": record["preemption_ns"] / 1e9,
    }
    known = {key: value for key, value in found.items() if value}
    return known | {"valve.preempted": record["closed_gate"], "valve.preemptions": record["closes_seen"]}


def tenant_attributes(record: Record) -> Attributes:
    return {
        "valve.tenant.job": record["job"],
        "valve.tenant.rank": record["rank"],
        "valve.tenant.pid": record["pid"],
        "valve.tenant.mechanism": record["mechanism"],
        "valve.tenant.level": record["level"],
        "valve.gate.generation": record["generation"],
    }


def reclaim_attributes(record: Record) -> Attributes:
    return {
        "valve.tenant.job": record["job"],
        "valve.tenant.pid": record["pid"],
        "valve.device": record["device"],
        "valve.reclaim.pages": record["pages"],
        "valve.reclaim.duration": (record["t_ns"] - record["noticed_ns"]) / 1e9,
        "valve.reclaim.stopped": record["stopped_ns"] / 1e9,
    }


def error_of(record: Record) -> str:
    """The conventions' error.type; empty for a good answer."""
    if record["outcome"] == "completed":
        return str(record["status"]) if record["status"] >= 400 else ""
    return str(record["outcome"])


def context_of(record: Record) -> SpanContext:
    """Of the request that the record is about."""
    return _context(record["trace_id"], record["span_id"])


def parent_of(record: Record) -> SpanContext | None:
    parent = record["parent_span_id"]
    return _context(record["trace_id"], parent, remote=True) if parent else None


def new_context(trace_id: int = 0) -> SpanContext:
    """Of a span that nobody else knows; without a trace it begins one."""
    trace = trace_id or random.getrandbits(128) or 1
    return SpanContext(trace, random.getrandbits(64) or 1, False, TraceFlags(TraceFlags.SAMPLED))


def _context(trace_id: str, span_id: str, *, remote: bool = False) -> SpanContext:
    return SpanContext(int(trace_id, 16), int(span_id, 16), remote, TraceFlags(TraceFlags.SAMPLED))
