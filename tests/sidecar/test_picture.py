"""One frame out of events and state."""

from typing import Any

from valve_sidecar.answer import Answer
from valve_sidecar.events import EventLog
from valve_sidecar.flight import Flight
from valve_sidecar.picture import FRAME_ANSWERS, FRAME_EARLIER, FRAME_MOMENTS, Picture

MS = 1_000_000
S = 1_000_000_000


def state(t_ns: int = 100 * S, **changes: Any) -> dict[str, Any]:
    names = dict.fromkeys(("version", "mode", "policy", "engine", "upstream", "problem"), "x")
    counters = {"closes_per_request_max": 1, "gate_closes": 3}
    gate = {"gate": "open", "gated": True, "in_flight": 0, "cooldown_ms": 50.0, "budget": None}
    told = {"t_ns": t_ns, "tenants": [], "memory": [], "counters": counters, "shares": None}
    return names | gate | told | changes


def request(t_ns: int, ttft_ms: int, *, preempted: bool = False, upgrade: bool = False) -> dict[str, Any]:
    """Ten tokens, 10 ms apart."""
    flight = Flight("r", "/v1/completions", None, t_ns - 200 * MS - ttft_ms * MS, upgrade=upgrade)
    flight.first_token_ns = flight.readable_ns + ttft_ms * MS
    flight.last_token_ns = flight.first_token_ns + 90 * MS
    flight.finished_ns, flight.tokens, flight.preemption_ns = t_ns, 10, int(preempted)
    flight.answer = Answer(streamed=True)
    log = EventLog()
    log.request(flight)
    return dict(log.since(0, 1)["events"][0])


def stop(t_ns: int, latency_us: int) -> dict[str, Any]:
    return {"kind": "stopped", "t_ns": t_ns, "latency_ns": latency_us * 1000}


def test_requests_that_stopped_offline_work_are_compared_with_the_others() -> None:
    picture = Picture()
    picture.take([request(99 * S, 30, preempted=True), request(99 * S, 20), request(60 * S, 40)])
    figures = picture.frame(state())["requests"]
    assert figures["ttft_ms"] == {"now": 25, "stopping": 30, "others": 30}
    assert figures["tpot_ms"]["now"] == 10
    assert (figures["recent"], figures["stopping"], figures["others"]) == (2, 1, 2)


def test_without_requests_there_are_no_figures() -> None:
    frame = Picture().frame(state())
    assert frame["requests"]["ttft_ms"] == {"now": None, "stopping": None, "others": None}
    assert frame["preemption"] == {
        "count": 0,
        "last_us": None,
        "p50_us": None,
        "p99_us": None,
        "max_us": None,
    }
    assert frame["shares"] is None


def test_preemptions() -> None:
    picture = Picture()
    picture.take([stop(1, us) for us in (100, 300, 200)])
    told = picture.frame(state())["preemption"]
    assert (told["count"], told["last_us"], told["p50_us"], told["max_us"]) == (3, 200, 200, 300)
    assert 200 < told["p99_us"] <= 300


def slice_of(second: int) -> list[dict[str, Any]]:
    """One slice, with what it does to a tenant."""
    begin, end = second * S, second * S + 50 * MS
    return [
        {"kind": "open", "t_ns": begin, "slice_until_ns": end},
        {"kind": "resumed", "t_ns": begin + MS},
        {"kind": "close", "t_ns": end, "request_id": "", "due_ns": end},
        stop(end + MS, 200) | {"request_id": ""},
    ]


def test_what_slices_do_is_marked_and_drives_no_other_event_out() -> None:
    picture = Picture()
    arrival = {"kind": "close", "t_ns": S, "request_id": "r-1"}
    picture.take([arrival, *(event for second in range(2, 300) for event in slice_of(second))])
    picture.take([{"kind": "lapse", "t_ns": 300 * S}, {"kind": "open", "t_ns": 301 * S}])
    frame = picture.frame(state(t_ns=302 * S))
    kinds = [event["kind"] for event in frame["events"] if "slice" not in event]
    assert kinds == ["close", "lapse", "open"]
    assert len(frame["events"]) == FRAME_MOMENTS + 1
    assert frame["known_ns"] == frame["events"][1]["t_ns"], "from then on nothing is left out"
    assert frame["preemption"]["count"] == 298


def test_what_a_tenant_did_is_a_slices_by_its_time_however_late_it_is_told() -> None:
    picture = Picture()
    begun, resumed, ended, stopped = slice_of(10)
    arrival = {"kind": "close", "t_ns": 11 * S, "request_id": "r-1"}
    after = stop(11 * S + MS, 300) | {"request_id": "r-1"}
    drained = [{"kind": "open", "t_ns": 12 * S}, {"kind": "resumed", "t_ns": 12 * S + MS}]
    picture.take([begun, ended, arrival, resumed, stopped, after, *drained])
    shown = [event["kind"] for event in picture.frame(state())["events"] if "slice" not in event]
    assert shown == ["close", "stopped", "open", "resumed"]


def test_events_are_handed_over_once_and_bounded() -> None:
    picture = Picture()
    picture.take([{"kind": "open", "t_ns": i} for i in range(3 * FRAME_MOMENTS)])
    picture.take([request(99 * S, 10) for _ in range(3 * FRAME_ANSWERS)])
    frame = picture.frame(state())
    assert (len(frame["events"]), frame["events"][-1]["t_ns"]) == (
        FRAME_MOMENTS + FRAME_EARLIER,
        3 * FRAME_MOMENTS - 1,
    )
    assert len(frame["answers"]) == FRAME_ANSWERS
    again = picture.frame(state())
    assert (again["events"], again["answers"]) == ([], [])


def test_a_web_socket_has_no_latency() -> None:
    picture = Picture()
    picture.take([request(99 * S, 10, upgrade=True)])
    assert picture.frame(state())["answers"] == []
