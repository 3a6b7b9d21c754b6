"""Which turn follows which answer."""

from valve_loadgen.arrivals import Planned, Turn
from valve_loadgen.conversation import follow
from valve_loadgen.exchange import Exchange

PLAN = Planned("a", 1_000, "hello", 5, turns=(Turn("a.1", "more", 6, 50), Turn("a.2", "and", 7, 60)))


def answer(done_ns: int, status: int = 200) -> Exchange:
    return Exchange("id", "a", 101_000, 101_010, 101_020, done_ns, status, [101_020], 1, text="hi there")


def test_the_next_turn_comes_a_while_after_the_answer_with_the_history() -> None:
    second = follow(PLAN, answer(102_000))
    assert second is not None
    assert (second.name, second.at_ns, second.prompt, second.output_tokens) == ("a.1", 2_050, "more", 6)
    assert second.history == ("hello", "hi there")
    third = follow(second, answer(103_000))
    assert third is not None
    assert third.history == ("hello", "hi there", "more", "hi there")
    assert follow(third, answer(104_000)) is None


def test_a_failure_ends_the_conversation() -> None:
    assert follow(PLAN, answer(102_000, status=500)) is None
