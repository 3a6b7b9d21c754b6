"""The event log: bounded, ordered, readable in pieces."""

import orjson

from valve_sidecar.events import CAPACITY, EventLog
from valve_sidecar.flight import Flight


def test_reading_in_pieces_gives_every_event_once() -> None:
    log = EventLog(worker=3)
    for t_ns in range(10):
        log.opened(t_ns, generation=t_ns)
    first = log.since(0, limit=4)
    rest = log.since(first["next"], limit=100)
    assert [e["t_ns"] for e in first["events"] + rest["events"]] == list(range(10))
    assert first["events"][0] == {"seq": 0, "worker": 3, "kind": "open", "t_ns": 0, "generation": 0}
    assert log.since(rest["next"], limit=100) == {"events": [], "next": 10, "dropped": 0}


def test_what_was_overwritten_is_counted() -> None:
    log = EventLog()
    for t_ns in range(CAPACITY + 5):
        log.lapsed(t_ns)
    answer = log.since(2, limit=1)
    assert answer["dropped"] == 3
    assert answer["events"][0]["seq"] == 5


def test_numbers_from_the_future_or_below_zero_are_harmless() -> None:
    log = EventLog()
    log.lapsed(1)
    assert log.since(99, limit=5) == {"events": [], "next": 1, "dropped": 0}
    assert len(log.since(-7, limit=5)["events"]) == 1


def test_a_client_s_bytes_that_are_no_text_do_not_break_readers() -> None:
    log = EventLog()
    flight = Flight("\udcff-id", "/v1/\udcfe", counter=None, readable_ns=1)
    log.closed(1, 1, flight)
    log.request(flight)
    answer = orjson.loads(orjson.dumps(log.since(0, limit=9)))
    assert [event["request_id"] for event in answer["events"]] == ["?-id", "?-id"]
