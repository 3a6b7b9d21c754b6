"""The online load: the same value gives the same requests, and says what was done to the trace."""

from pathlib import Path

import pytest

from valve_loadgen.arrivals import Load, jittered
from valve_loadgen.errors import BenchError
from valve_loadgen.patterns import Pattern
from valve_loadgen.prompts import prompt


def test_the_same_load_gives_the_same_round() -> None:
    assert Load().round(3, 60) == Load().round(3, 60)
    assert Load().round(3, 60) != Load().round(4, 60)
    assert Load(seed=2).round(3, 60) != Load().round(3, 60)


def test_rounds_walk_through_the_trace(tmp_path: Path) -> None:
    rows = "".join(f"{i},{32 * (10 + i)},100\n" for i in range(20))
    (tmp_path / "t.csv").write_text("arrival_s,input_tokens,output_tokens\n" + rows)
    load = Load(str(tmp_path / "t.csv"), keep=1.0)
    assert [plan.at_ns for plan in load.round(1, 5.0)] == [0, 10**9, 2 * 10**9, 3 * 10**9, 4 * 10**9]
    assert [len(plan.prompt.split()) for plan in load.round(1, 5.0)] == [15, 16, 17, 18, 19]
    assert [len(plan.prompt.split()) for plan in load.round(3, 5.0)] == [
        10,
        11,
        12,
        13,
        14,
    ]


def test_a_second_lap_is_another_draw() -> None:
    load = Load()
    laps = int(load.span_s // 12)
    first, second = load.round(0, 12), load.round(laps, 12)
    assert [plan.at_ns for plan in first] != [plan.at_ns for plan in second]


def test_prompts_are_distinct_and_names_unique() -> None:
    plans = [plan for index in range(5) for plan in Load().round(index, 12)]
    assert len({plan.prompt for plan in plans}) == len({plan.name for plan in plans}) == len(plans)


def test_the_load_says_what_was_done_to_the_trace() -> None:
    told = str(Load(keep=0.1, stretch=2, seed=7))
    for part in ("Azure 2023 conv", "10%", "time x2", "/ 32", "8..64", "/ 10", "6..24", "seed 7"):
        assert part in told


def test_a_pattern_may_stand_for_a_trace() -> None:
    load = Load(keep=1.0, pattern=Pattern("constant", 2.0))
    plans = load.round(0, 10.0)
    assert [plan.at_ns for plan in plans] == [i * 500_000_000 for i in range(20)]
    assert all(8 <= len(plan.prompt.split()) <= 64 and 6 <= plan.output_tokens <= 24 for plan in plans)
    assert "constant arrivals, 2 requests/s" in str(load)


def test_an_unknown_trace_is_refused() -> None:
    with pytest.raises(BenchError, match="cannot read"):
        Load("nonesuch.csv")


def test_a_prompt_has_the_words_asked() -> None:
    assert len(prompt("a", 33).split()) == 33
    assert prompt("a", 33) == prompt("a", 33)
    assert prompt("a", 33).split()[:3] != prompt("b", 33).split()[:3]
    assert prompt("a", 0)


def test_jitter_is_about_the_gap() -> None:
    times = jittered(1000, 20_000_000, seed=3)
    gaps = [b - a for a, b in zip(times, times[1:], strict=False)]  # noqa: RUF007
    assert times[0] == 0
    assert all(9_999_999 <= gap <= 30_000_001 for gap in gaps)
    assert 19_000_000 < sum(gaps) / len(gaps) < 21_000_000
