"""Counters: what a flight adds to them, and how workers' add up."""

from valve_sidecar.answer import Answer
from valve_sidecar.flight import Flight, Outcome
from valve_sidecar.telemetry import (
    MAX_MODELS,
    PREEMPTION_BUCKETS_S,
    Counters,
    error_type,
    merge_counters,
)

MS = 1_000_000


def flight(
    model: str = "m", status: int = 200, outcome: Outcome = Outcome.COMPLETED, tokens: int = 5
) -> Flight:
    """Arrived at 1 s, first token after 20 ms, last after 100 ms, over after 120 ms."""
    start_ns = 1_000 * MS
    made = Flight("r", "/v1/chat/completions", None, start_ns, arrival_ns=start_ns, engine="vllm")
    made.first_token_ns, made.last_token_ns = start_ns + 20 * MS, start_ns + 100 * MS
    made.finished_ns, made.tokens = start_ns + 120 * MS, tokens
    made.outcome, made.status, made.answer = outcome, status, Answer(model, input_tokens=7, streamed=True)
    return made


def counted(*flights: Flight) -> Counters:
    counters = Counters(idle_since_ns=900 * MS)
    for each in flights:
        counters.arrived(each)
        counters.finished(each)
    return counters


def test_latencies_of_a_stream() -> None:
    latencies = counted(flight()).as_dict()["latencies"]
    assert latencies["duration"]["chat\tvllm\tm\t"]["sum_s"] == 0.12
    assert latencies["time_to_first_token"]["chat\tvllm\tm"]["sum_s"] == 0.02
    assert latencies["time_per_output_token"]["chat\tvllm\tm"]["sum_s"] == 0.025


def test_a_document_has_a_duration_only() -> None:
    document = flight()
    document.answer = Answer("m")
    latencies = counted(document).as_dict()["latencies"]
    assert latencies["duration"]
    assert not latencies["time_to_first_token"]


def test_a_web_socket_has_no_latencies() -> None:
    socket = flight()
    socket.upgrade = True
    assert not any(counted(socket).as_dict()["latencies"].values())


def test_whatever_models_an_engine_names_the_series_are_bounded() -> None:
    counters = counted(*(flight(model=f"m-{i}") for i in range(10 * MAX_MODELS)))
    series = counters.as_dict()["latencies"]["duration"]
    assert len(series) == MAX_MODELS + 1
    assert sum(series["chat\tvllm\tother\t"]["counts"]) == 9 * MAX_MODELS


def test_error_types() -> None:
    assert error_type(flight()) == ""
    assert error_type(flight(status=429)) == "429"
    assert error_type(flight(status=0, outcome=Outcome.CLIENT_GONE)) == "client_gone"


def test_drained_is_the_time_with_nothing_in_flight() -> None:
    counters = counted(flight())
    assert counters.drained_ns == 100 * MS
    assert counters.idle_since_ns == 1_120 * MS


def test_the_prompt_s_tokens_are_added() -> None:
    assert counted(flight(), flight()).as_dict()["input_tokens"] == 14


def test_bounds_are_inclusive_like_prometheus_wants_them() -> None:
    counters = Counters()
    counters.preempted(int(PREEMPTION_BUCKETS_S[0] * 1e9))
    assert counters.preemption.counts[0] == 1


def test_workers_add_up_and_maxima_stay_maxima() -> None:
    first, second = Counters(), Counters()
    first.requests["completed"], second.requests["completed"] = 2, 3
    second.requests["client_gone"] = 1
    first.closes_per_request_max, second.closes_per_request_max = 1, 0
    first.latencies["duration"].observe(("chat", "e", "m", ""), 1.0)
    second.latencies["duration"].observe(("chat", "e", "m", ""), 2.0)
    first.preempted(100)
    second.preempted(100)
    merged = merge_counters([first.as_dict(), second.as_dict()])
    assert merged["requests"] == {"completed": 5, "client_gone": 1}
    assert merged["closes_per_request_max"] == 1
    assert sum(merged["preemption_bucket_counts"]) == 2
    assert merged["latencies"]["duration"]["chat\te\tm\t"]["sum_s"] == 3.0
