"""What a report tells the planner: what was planned and what the engine alone made of it; the open gate."""

from valve_loadgen.arrivals import Planned
from valve_loadgen.exchange import Exchange
from valve_loadgen.ledger import ledger, open_fraction
from valve_loadgen.results import NO_GATE, ONLINE_ALONE, VALVE, Results, Window

from .told import resumed, stopped


def served(
    name: str, first_ns: int, done_ns: int, arm: str = ONLINE_ALONE, error: str | None = None
) -> Window:
    exchange = Exchange(
        "id", name, 1_000, done_ns=done_ns, status=200, token_ns=[first_ns], usage_tokens=5, error=error
    )
    return Window(arm, 0, 0, 10**9, [exchange])


def test_planned_and_measured_stand_side_by_side() -> None:
    windows = [
        served("r0-0", 3_001_000, 9_001_000),
        served("r0-0", 77, 78, NO_GATE),
        served("r0-1", 5, 6, error="reset"),
    ]
    plans = [[Planned("r0-0", 250_000_000, "one two three", 5), Planned("r0-1", 500_000_000, "one", 6)]]
    first, second = ledger(Results(windows), plans)
    assert first == {
        "round": 0,
        "at_s": 0.25,
        "input_tokens": 3,
        "output_tokens": 5,
        "ttft_ms": 3.0,
        "total_ms": 9.0,
    }
    assert (second["output_tokens"], second["ttft_ms"], second["total_ms"]) == (6, None, None)


def test_the_gate_is_open_while_nobody_is_stopped() -> None:
    windows = [Window(VALVE, 0, 100, 200), Window(NO_GATE, 0, 200, 300), Window(VALVE, 1, 300, 400)]
    told = [stopped(1, 90), resumed(2, 110), stopped(3, 150), resumed(4, 310), stopped(5, 380)]
    assert open_fraction(Results(windows, told)) == (40 + 70) / 200
    assert open_fraction(Results([], told)) is None
