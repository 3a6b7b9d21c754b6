"""What the intake keeps of a request besides its stamps: its trace, and what the answer tells."""

from typing import cast

from valve_adapters.registry import by_name
from valve_sidecar.answer import END_BYTES, START_BYTES, Answer
from valve_sidecar.config import Mode
from valve_sidecar.cooldown import Cooldown
from valve_sidecar.events import EventLog
from valve_sidecar.flight import Flight, Head, Outcome
from valve_sidecar.gate import Gate
from valve_sidecar.intake import MAX_PROMPT_BYTES, SidecarIntake, keep_ends, prompt_bytes
from valve_sidecar.telemetry import Counters
from valve_sidecar.tenants import TenantWatch
from valve_sidecar.trace import Tracer

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
EVENT = (
    b'data: {"id":"c-1","model":"m","choices":[{"delta":{"content":"s3cret"},"finish_reason":"stop"}]}\n\n'
)


class Scene:
    """Mode bypass: the gate is never touched."""

    def __init__(self, tracer: Tracer | None = None) -> None:
        self.events, self.counters = EventLog(), Counters()
        watch = TenantWatch(self.events, self.counters.preempted)
        parts = (cast(Gate, None), Cooldown(), self.counters, self.events, watch, Mode.BYPASS)
        self.intake = SidecarIntake(by_name("openai"), *parts, tracer)

    def arrive(self, path: str = "/v1/chat/completions", *, upgrade: bool = False) -> Flight:
        headers = {"traceparent": f"00-{TRACE}-00f067aa0ba902b7-01", "Content-Length": "1000"}
        flight = self.intake.arrive(Head("POST", path, headers, upgrade, readable_ns=1))
        assert flight is not None
        return flight


def test_a_traced_request_has_a_header_for_the_engine() -> None:
    flight = Scene(Tracer(0.0)).arrive()
    assert flight.trace is not None
    assert flight.traceparent == f"00-{TRACE}-{flight.trace.span_id}-01".encode()


def test_without_a_tracer_the_client_s_header_goes_on() -> None:
    assert Scene().arrive().traceparent is None


def test_what_the_answer_tells_is_kept_and_nothing_of_its_text() -> None:
    scene = Scene()
    flight = scene.arrive()
    scene.intake.progress(flight, EVENT)
    scene.intake.finish(flight, Outcome.COMPLETED, 200)
    assert flight.answer == Answer("m", "c-1", ("stop",), streamed=True)
    assert (flight.answer_start, flight.answer_end, flight.engine) == (b"", b"", "openai")
    (record,) = scene.events.since(0, 9)["events"]
    assert "s3cret" not in str(record)
    assert scene.counters.as_dict()["latencies"]["time_to_first_token"]


def test_of_a_web_socket_nothing_is_kept() -> None:
    scene = Scene()
    flight = scene.arrive(upgrade=True)
    scene.intake.progress(flight, EVENT)
    assert (flight.answer_start, flight.answer_end) == (b"", b"")


def test_the_ends_of_an_answer_however_it_was_cut() -> None:
    body = bytes(range(256)) * 40
    for size in (1, 7, 300, 5_000, len(body)):
        flight = Flight("r", "/", None, 1)
        for at in range(0, len(body), size):
            keep_ends(flight, body[at : at + size])
        assert flight.answer_start == body[:START_BYTES]
        assert flight.answer_end == body[-END_BYTES:]


def test_bodies_wait_until_a_first_token_or_an_end() -> None:
    scene = Scene()
    first, second = scene.arrive(), scene.arrive()
    scene.arrive(upgrade=True)
    assert (scene.counters.waiting, scene.counters.waiting_bytes) == (2, 2000)
    scene.intake.progress(first, EVENT)
    scene.intake.progress(first, EVENT)
    assert (scene.counters.waiting, scene.counters.waiting_bytes) == (1, 1000)
    scene.intake.finish(first, Outcome.COMPLETED, 200)
    scene.intake.finish(second, Outcome.CLIENT_GONE, 0)
    assert (scene.counters.waiting, scene.counters.waiting_bytes) == (0, 0)


def test_long_bodies_are_hardly_text_and_chunked_ones_have_no_length() -> None:
    assert prompt_bytes("1000") == 1000
    assert prompt_bytes("9" * 30) == MAX_PROMPT_BYTES
    assert prompt_bytes("") == 0
