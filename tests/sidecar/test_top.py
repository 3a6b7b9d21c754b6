"""The terminal's picture out of frames."""

from typing import Any

from valve_sidecar.picture import Picture
from valve_sidecar.top import Screen, as_text

from .test_picture import S, request, state, stop


def tenant(**changes: Any) -> dict[str, Any]:
    names = {"job": "nightly", "rank": 0, "row": 1, "pid": 9, "runner_pid": 0, "mechanism": "freezer_cgroup"}
    zeros = dict.fromkeys(("slow_stops", "foreign_resumes", "escalations", "errors", "unstopped_threads"), 0)
    numbers = {
        "stops": 3,
        "processes": 1,
        "refusals": 0,
        "devices": ["cpu"],
        "alive": True,
        "state": "running",
        "tokens": None,
        "input_tokens": None,
    }
    return names | zeros | numbers | changes


def drawn(*events: dict[str, Any], **changes: Any) -> str:
    picture, screen = Picture(), Screen()
    picture.take(events)
    frame = picture.frame(state(**changes))
    screen.take(frame)
    return as_text(screen.draw(frame, 100))


def test_without_anything_yet() -> None:
    text = drawn()
    assert "no tenant: start one with `valve run -- CMD`" in text
    assert "○ open" in text


def test_figures_and_tenants() -> None:
    events = [request(99 * S, 30, preempted=True), request(99 * S, 20), stop(99 * S, 250) | cause()]
    text = drawn(*events, gate="closed", tenants=[tenant(state="stopped", escalations=2)], in_flight=4)
    for shown in ("■ closed", "25.0 ms (with a stop +50.0%)", "p50 250 us", "■ stopped", "escalations 2"):
        assert shown in text
    assert "nightly, 250 us after request r-1" in text


def test_tokens_that_no_engine_tells_are_unknown() -> None:
    for tokens, shown in ((12_345_678, "12,345,678"), (0, "0"), (None, "-")):
        text = drawn(tenants=[tenant(tokens=tokens)])
        (line,) = (line for line in text.splitlines() if "nightly" in line and "freezer" in line)
        assert line.split()[-2:] == [shown, "-"]


def cause() -> dict[str, Any]:
    return {"job": "nightly", "row": 1, "pid": 9, "request_id": "r-1"}


def test_strips_follow_the_events() -> None:
    stops = [
        {"kind": "close", "t_ns": 70 * S, "request_id": "r-1"},
        stop(70 * S, 1) | cause(),
        {"kind": "resumed", "t_ns": 85 * S} | cause(),
        {"kind": "open", "t_ns": 85 * S},
    ]
    lines = drawn(*stops, tenants=[tenant()]).splitlines()
    for name in ("gate", "nightly"):
        (strip,) = (line.rstrip() for line in lines if line.startswith(name) and "·" in line)
        assert strip.removeprefix(name).strip().strip("▄█") == "·" * 19
        assert strip.endswith("█")


def test_what_stops_nothing_is_said() -> None:
    assert "nothing is stopped: a full table" in drawn(gated=False, problem="a full table")


def test_markup_in_names_is_text() -> None:
    assert "[bold]x[/bold]" in drawn(tenants=[tenant(job="[bold]x[/bold]")])


def test_shared_memory_is_a_line_of_bars() -> None:
    device = {"device": "GPU-0", "limit": 1024, "online": 256, "tenants": 512, "free": 256, "reserved": 512}
    reclaim = {"kind": "reclaim", "t_ns": 99 * S, "device": "GPU-0", "pages": 128, "reserved": 512}
    text = drawn(reclaim, memory=[device | {"used": 200, "reclaims": 2, "decides": True}])
    bars = "█" * 10 + "▒" * 20 + "·" * 10
    assert f"{bars} online 0.5 GiB, tenants 1.0 GiB of 2.0 GiB" in " ".join(text.split())
    assert "memory reclaimed" in text
    assert "0.2 GiB: 1.0 GiB of GPU-0 are online's" in text
