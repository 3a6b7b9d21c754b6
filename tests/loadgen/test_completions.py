"""How an endpoint is asked."""

from valve_loadgen.arrivals import Planned
from valve_loadgen.completions import Ask

PLAN = Planned("a", 0, "third", 7, history=("first", "second"))


def test_a_chat_has_its_turns_as_messages() -> None:
    body = Ask("m").body(PLAN)
    assert [(each["role"], each["content"]) for each in body["messages"]] == [
        ("user", "first"),
        ("assistant", "second"),
        ("user", "third"),
    ]
    assert (body["model"], body["max_tokens"], body["stream"]) == ("m", 7, True)


def test_a_completion_has_them_in_one_prompt() -> None:
    ask = Ask("m", chat=False)
    assert ask.path == "/v1/completions"
    assert ask.body(PLAN)["prompt"] == "first second third"


def test_lengths_are_fixed_only_where_that_is_taken() -> None:
    assert Ask().body(PLAN)["min_tokens"] == 7
    assert "ignore_eos" not in Ask(fixed_length=False).body(PLAN)
