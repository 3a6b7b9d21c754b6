"""The workload of a run: lengths, conversations, cancels; the same value gives the same requests."""

from dataclasses import replace
from pathlib import Path

import pytest

from valve_loadgen.patterns import Pattern
from valve_loadgen.prompts import Vocabulary
from valve_loadgen.workload import Span, Workload

WORDS = Vocabulary()
STEADY = Workload(10.0, Pattern("constant", 10.0), input_tokens=Span(5, 9), output_tokens=Span(2, 4))


def test_the_same_workload_gives_the_same_plan() -> None:
    assert STEADY.plan(WORDS) == STEADY.plan(WORDS)
    assert replace(STEADY, seed=2).plan(WORDS) != STEADY.plan(WORDS)


def test_times_and_lengths_are_as_asked() -> None:
    plan = STEADY.plan(WORDS)
    assert [each.at_ns for each in plan] == [i * 100_000_000 for i in range(100)]
    assert {len(each.prompt.split()) for each in plan} == {5, 6, 7, 8, 9}
    assert {each.output_tokens for each in plan} == {2, 3, 4}


def test_prompts_count_what_the_engine_adds() -> None:
    plan = replace(STEADY, input_tokens=Span(40, 40)).plan(Vocabulary(per_word=2.0, overhead=10.0))
    assert {len(each.prompt.split()) for each in plan} == {15}


def test_a_conversation_has_its_turns() -> None:
    first = replace(STEADY, turns=3, think_s=2.0).plan(WORDS)[0]
    assert [turn.name for turn in first.turns] == ["r0.1", "r0.2"]
    assert all(turn.think_ns == 2_000_000_000 for turn in first.turns)
    assert len({first.prompt, *(turn.prompt for turn in first.turns)}) == 3


def test_a_fraction_is_cancelled() -> None:
    plan = replace(STEADY, duration_s=100.0, cancel_fraction=0.2, cancel_after_ms=7.0).plan(WORDS)
    cancelled = [each.cancel_after_ns for each in plan if each.cancel_after_ns is not None]
    assert 150 < len(cancelled) < 250
    assert set(cancelled) == {7_000_000}


def test_a_trace_brings_its_lengths_and_its_sessions_share_prefixes(tmp_path: Path) -> None:
    rows = "arrival_s,input_tokens,output_tokens,session\n0.5,10,3,a\n1.0,20,900,a\n1.5,10,5,b\n9.5,1,1,b\n"
    (tmp_path / "t.csv").write_text(rows)
    plan = Workload(9.0, trace=str(tmp_path / "t.csv"), output_tokens=Span(64, 64)).plan(WORDS)
    assert [each.output_tokens for each in plan] == [3, 64, 5]
    assert plan[1].prompt.startswith(plan[0].prompt)
    assert not plan[2].prompt.startswith(plan[0].prompt[:20])


def test_a_trace_is_thinned_and_stretched() -> None:
    whole = Workload(60.0, trace="conv")
    assert len(replace(whole, keep=0.5).arrivals()) == pytest.approx(len(whole.arrivals()) / 2, rel=0.2)
    assert len(replace(whole, stretch=2.0).arrivals()) == pytest.approx(len(whole.arrivals()) / 2, rel=0.2)


def test_the_peak_rate_is_that_of_the_fullest_second() -> None:
    assert STEADY.peak_rate() == 10.0
    assert replace(STEADY, pattern=Pattern("onoff", 10, on_s=1, off_s=9)).peak_rate() > 5


def test_the_workload_says_what_it_is() -> None:
    told = str(replace(STEADY, turns=2, cancel_fraction=0.1))
    for part in (
        "constant arrivals, 10 requests/s",
        "5..9 tokens in",
        "2..4 out",
        "2 turns",
        "10% cancelled",
    ):
        assert part in told
    assert "50% kept" in str(Workload(trace="conv", keep=0.5))
