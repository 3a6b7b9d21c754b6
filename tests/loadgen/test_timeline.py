"""The course of a window: in flight by steps, the gate's closed spans, offline bins."""

from valve_loadgen import timeline
from valve_loadgen.exchange import Exchange
from valve_loadgen.results import ONLINE_ALONE, VALVE, Results, Window

from .told import close, opened

SECOND = 1_000_000_000


def test_in_flight_steps_at_each_send_and_end() -> None:
    exchanges = [Exchange("a", "a", 10, 10, 0, 30, 200), Exchange("b", "b", 20, 20, 0, 40, 200)]
    steps = timeline.in_flight(Window(VALVE, 0, 0, 100, exchanges))
    assert steps == [(0, 0), (10, 1), (20, 2), (30, 1), (40, 0)]


def test_the_gate_is_closed_from_the_first_close_to_the_next_open() -> None:
    events = [close(1, "a", 10), close(1, "a", 12), opened(2, 20), close(3, "b", 30)]
    assert timeline.closed_ns(events) == [(10, 20), (30, 1 << 63)]
    assert timeline.closed_ns([opened(1, 5)]) == []


def test_only_shared_windows_have_one_clipped_to_the_window() -> None:
    windows = [
        Window(ONLINE_ALONE, 0, 0, SECOND),
        Window(VALVE, 0, SECOND, 3 * SECOND, [], 12, offline_bins=[5, 7]),
    ]
    events = [close(1, "a", SECOND // 2), opened(2, 2 * SECOND)]
    (told,) = timeline.timelines(Results(windows, events))
    assert told["gate_closed"] == [[0.0, 1.0]]
    assert (told["span_s"], told["bin_s"], told["offline_tokens"]) == (2.0, 0.1, [5, 7])
    assert told["in_flight"] == [[0.0, 0]]
