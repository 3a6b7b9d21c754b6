"""What a spread run reports, of measurements given."""

import pytest

from valve_loadgen.errors import BenchError
from valve_loadgen.exchange import Exchange
from valve_loadgen.plan.engine import Engine
from valve_loadgen.replicas import LLAMACPP, PACK_FIRST, ROUND_ROBIN
from valve_loadgen.spread import ALONE, Spread, SpreadPlan, Window
from valve_loadgen.spread_plan import predict

PLAN = SpreadPlan(rounds=1)


def exchange(name: str, status: int = 200) -> Exchange:
    made = Exchange(name, name, 0)
    made.send_ns, made.status, made.done_ns = 0, status, 90_000_000
    made.token_ns += [50_000_000, 90_000_000]
    return made


def run(*windows: Window) -> Spread:
    return Spread(PLAN, Engine(), list(windows))


def windows() -> list[Window]:
    return [
        Window(ALONE, 20.0, 2000, 80.0, 0, []),
        Window(ROUND_ROBIN, 20.0, 100, 4.0, 1, [exchange("a"), exchange("b")]),
        Window(PACK_FIRST, 10.0, 600, 25.0, 1, [exchange("a"), exchange("b")]),
    ]


def test_harvest_is_tokens_over_alone_and_gates_are_time_over_all_replicas() -> None:
    arms = run(*windows()).report()["arms"]
    assert arms[ROUND_ROBIN]["measured"]["harvest_fraction"] == pytest.approx(0.05)
    assert arms[ROUND_ROBIN]["measured"]["gate_open_fraction"] == pytest.approx(0.05)
    assert arms[PACK_FIRST]["measured"]["harvest_fraction"] == pytest.approx(0.6)
    assert arms[PACK_FIRST]["measured"]["gate_open_fraction"] == pytest.approx(0.625)
    assert arms[PACK_FIRST]["measured"]["preemptions_per_request"] == 0.5


def test_failed_requests_make_it_invalid() -> None:
    assert run(*windows()).report()["valid"] is True
    bad = windows()
    bad[1].exchanges[0].status = 503
    report = run(*bad).report()
    assert report["valid"] is False
    assert report["reasons"][0].startswith("1 online requests failed")


def test_the_simulation_sees_the_same_requests_and_packs_better() -> None:
    rounds = [PLAN.planned(number) for number in range(3)]
    spread = predict(ROUND_ROBIN, rounds, Engine(), PLAN)["harvest_fraction"]
    packed = predict(PACK_FIRST, rounds, Engine(), PLAN)["harvest_fraction"]
    assert 0 < spread < 0.1
    assert packed > 0.5


def test_a_round_without_requests_is_refused() -> None:
    with pytest.raises(BenchError, match="make windows longer"):
        SpreadPlan(LLAMACPP, window_s=0.001).planned(0)
