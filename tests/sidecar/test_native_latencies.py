"""Latencies counted in C against those counted in Python, of the same requests."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from valve_sidecar import native
from valve_sidecar.flight import Flight, Outcome
from valve_sidecar.native_intake import flight_of
from valve_sidecar.native_latencies import OPERATIONS, bounds_ns, operation_number
from valve_sidecar.telemetry import LATENCY_BUCKETS_S, MAX_MODELS, Counters

from .driven_intake import EVENT, Driver

PATHS = ("/v1/chat/completions", "/v1/completions", "/v1/embeddings")


@dataclass(frozen=True)
class Asked:
    path: str
    answer: tuple[bytes, ...]
    outcome: Outcome
    status: int


def told(model: str) -> bytes:
    return b'data: {"model":"%s","choices":[{"text":"x"}]}\n\n' % model.encode()


asked = st.builds(
    Asked,
    st.sampled_from(PATHS),
    st.lists(st.sampled_from([EVENT, told("qwen"), told(""), b'{"model":"m"}']), max_size=4).map(tuple),
    st.sampled_from(Outcome),
    st.sampled_from([0, 200, 399, 400, 503]),
)


def serve(driver: Driver, request: Asked) -> None:
    flight = driver.arrive("POST", request.path)
    assert flight is not None
    for piece in request.answer:
        driver.progress(flight, piece)
    driver.finish(flight, request.outcome, request.status)


def ended(driver: Driver) -> list[Flight]:
    """Every request of the log, with its stamps."""
    found: list[Flight] = []
    start = 0
    while True:
        batch, start = driver.intake._read(start, 1 << native.EventKind.REQUEST, 64)
        if not batch:
            return found
        found += [flight_of(event, driver.adapter.name) for event in batch]


def counted_in_python(flights: list[Flight]) -> Any:
    counters = Counters()
    for flight in flights:
        counters.observe(flight)
    return counters.as_dict()["latencies"]


def assert_alike(ours: Any, theirs: Any) -> None:
    """Sums in C are of whole nanoseconds."""
    assert list(ours) == list(theirs) == list(LATENCY_BUCKETS_S)
    for name, series in theirs.items():
        assert set(ours[name]) == set(series)
        for labels, histogram in series.items():
            assert ours[name][labels]["counts"] == histogram["counts"], (name, labels)
            assert ours[name][labels]["sum_s"] == pytest.approx(histogram["sum_s"], abs=1e-6)


@settings(deadline=None, max_examples=50)
@given(st.lists(asked, max_size=12))
def test_both_count_the_same(requests: list[Asked]) -> None:
    driver = Driver()
    for request in requests:
        serve(driver, request)
    assert_alike(driver.intake.latencies(), counted_in_python(ended(driver)))
    driver.intake.close()


def test_whatever_models_an_engine_names_the_series_are_bounded() -> None:
    driver = Driver()
    for number in range(3 * MAX_MODELS):
        serve(driver, Asked(PATHS[0], (told(f"m-{number}"),), Outcome.COMPLETED, 200))
    latencies = driver.intake.latencies()
    assert_alike(latencies, counted_in_python(ended(driver)))
    assert sum(latencies["duration"]["chat\tasked\tother\t"]["counts"]) == 2 * MAX_MODELS
    driver.intake.close()


def test_a_websocket_has_no_latencies() -> None:
    driver = Driver()
    flight = driver.arrive("GET", "/v1/realtime", upgrade=True)
    assert flight is not None
    driver.finish(flight, Outcome.COMPLETED)
    assert driver.intake.latencies() == {name: {} for name in LATENCY_BUCKETS_S}
    driver.intake.close()


def test_bounds_rise_and_are_as_many_as_in_c() -> None:
    for row, bounds_s in zip(bounds_ns(), LATENCY_BUCKETS_S.values(), strict=True):
        assert list(row) == sorted(row)
        assert [bound / 1e9 for bound in row[: len(bounds_s)]] == list(bounds_s)


def test_each_operation_has_a_number_of_its_own() -> None:
    numbers = {operation_number(path) for path in (*PATHS, "/v1/realtime")}
    assert numbers == set(range(1, len(OPERATIONS) + 1))
