"""What counts as a token, in every dialect; totals; and that chunk boundaries never change either."""

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from valve_adapters.tokens import OVERLAP, ResponseCounter


def event(content: object) -> bytes:
    return b"data: " + orjson.dumps(content) + b"\n\n"


def delta(**fields: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": fields, "finish_reason": None}]}


def call(arguments: str) -> dict[str, Any]:
    return delta(tool_calls=[{"index": 0, "function": {"arguments": arguments}}])


def count(*chunks: bytes) -> tuple[int, int]:
    """(sum of what feed returned, tokens at the end)"""
    counter = ResponseCounter()
    return sum(counter.feed(chunk) for chunk in chunks), counter.tokens


ONE = {
    "chat": delta(content=" the"),
    "reasoning_content": delta(content=None, reasoning_content="hm"),
    "reasoning": delta(reasoning="hm"),
    "tool call": call('{"a'),
    "function call": delta(function_call={"arguments": "{"}),
    "completions": {"choices": [{"index": 0, "text": " the"}]},
    "llama.cpp": {"index": 0, "content": " the", "stop": False},
    "SGLang": {"text": "so far", "meta_info": {"id": "1"}},
    "responses": {"type": "response.output_text.delta", "delta": "the"},
    "messages": {"type": "content_block_delta", "delta": {"type": "text_delta", "text": "the"}},
    "messages, thinking": {
        "type": "content_block_delta",
        "delta": {"type": "thinking_delta", "thinking": "hm"},
    },
    "messages, tool": {
        "type": "content_block_delta",
        "delta": {"type": "input_json_delta", "partial_json": "{"},
    },
}
NONE = {
    "role": delta(role="assistant", content=""),
    "role, null": delta(role="assistant", content=None),
    "finish": {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
    "name of a tool": delta(tool_calls=[{"index": 0, "id": "1", "function": {"name": "f", "arguments": ""}}]),
    "usage only": {"choices": [], "usage": None},
    "llama.cpp, last": {"index": 0, "content": "", "stop": True},
    "responses, done": {"type": "response.output_text.done", "text": "the whole text"},
    "responses, part": {"type": "response.content_part.added", "part": {"type": "output_text", "text": ""}},
    "messages, start": {"type": "message_start", "message": {"role": "assistant", "content": []}},
    "messages, stop": {"type": "message_delta", "delta": {"stop_reason": "end_turn"}},
    "error": {"error": {"message": "no"}},
    "odd": {"choices": [None, {"delta": {"content": 1, "tool_calls": [None, {}]}}, {"delta": []}]},
}


@pytest.mark.parametrize("content", ONE.values(), ids=ONE)
def test_one_token(content: dict[str, Any]) -> None:
    assert count(event(content)) == (1, 1)


@pytest.mark.parametrize("content", NONE.values(), ids=NONE)
def test_no_token(content: dict[str, Any]) -> None:
    assert count(event(content)) == (0, 0)


@pytest.mark.parametrize(
    "raw", [b"data: [DONE]\n\n", b": keep-alive\n\n", b"data: {broken\n\n", b"\x1f\x8b\x08\x00"]
)
def test_no_json_no_token(raw: bytes) -> None:
    assert count(raw) == (0, 0)


def test_each_choice_counts() -> None:
    choices = [{"index": i, "delta": {"content": "x"}} for i in range(3)]
    assert count(event({"choices": choices})) == (3, 3)


@pytest.mark.parametrize(
    "last",
    [
        {"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 5, "total_tokens": 14}},
        {"type": "response.completed", "response": {"usage": {"output_tokens": 5}}},
        {"type": "message_delta", "delta": {}, "usage": {"output_tokens": 5}},
        {"index": 0, "content": "", "stop": True, "tokens_predicted": 5},
        {"text": "", "meta_info": {"completion_tokens": 5}},
    ],
    ids=["chat", "responses", "messages", "llama.cpp", "SGLang"],
)
def test_the_engines_total_wins(last: dict[str, Any]) -> None:
    deltas = event(delta(content="several tokens at once")) * 2
    assert count(deltas, event(last)) == (2, 5)


def test_continuous_usage_is_cumulative() -> None:
    events = [event(delta(content="x") | {"usage": {"completion_tokens": n}}) for n in (2, 4, 6)]
    assert count(*events) == (3, 6)


DOCUMENTS = {
    "chat": ({"choices": [{"message": {"content": "x"}}], "usage": {"completion_tokens": 12}, "id": "1"}, 12),
    "responses": ({"output": [], "usage": {"input_tokens": 3, "output_tokens": 12}}, 12),
    "llama.cpp": ({"content": "x", "tokens_predicted": 12, "prompt": "y" * 300}, 12),
    "Ollama": ({"message": {"content": "x"}, "done": True, "prompt_eval_count": 30, "eval_count": 12}, 12),
    "embeddings": (
        {"data": [{"embedding": [0.1] * 100}], "usage": {"prompt_tokens": 3, "total_tokens": 3}},
        0,
    ),
    "a lie in the text": ({"choices": [{"message": {"content": '"completion_tokens": 99'}}]}, 0),
    "an array": ([{"usage": {"completion_tokens": 12}}], 12),
}


@pytest.mark.parametrize(("content", "tokens"), DOCUMENTS.values(), ids=DOCUMENTS)
def test_a_document_tells_its_total(content: object, tokens: int) -> None:
    for body in (
        orjson.dumps(content),
        orjson.dumps(content, option=orjson.OPT_INDENT_2),
        b"\r\n" + orjson.dumps(content),
    ):
        assert count(body) == (tokens, tokens)
        assert count(*(body[i : i + 1] for i in range(len(body)))) == (tokens, tokens)


def test_a_document_is_not_kept() -> None:
    counter = ResponseCounter()
    counter.feed(b"[")
    for _ in range(100):
        counter.feed(b"1," * 10_000)
    assert len(counter._follow._tail) == OVERLAP  # type: ignore[union-attr]


BODIES = st.one_of(
    st.lists(st.sampled_from([event(c) for c in (*ONE.values(), *NONE.values())] + [b": c\n\n"])).map(
        b"".join
    ),
    st.sampled_from([orjson.dumps(content) for content, _ in DOCUMENTS.values()]),
    st.lists(st.integers(0, 10**12 - 1)).map(
        lambda ns: b"{" + b",".join(b'"output_tokens" : %d' % n for n in ns)
    ),
    st.binary(max_size=200),
)


@given(BODIES, st.data())
def test_chunk_boundaries_do_not_matter(body: bytes, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(body)), max_size=8)))
    chunks = [body[a:b] for a, b in zip([0, *cuts], [*cuts, len(body)], strict=True)]
    assert count(*chunks) == count(body)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.text(),
        lambda inner: (
            st.lists(inner)
            | st.dictionaries(
                st.sampled_from(
                    [
                        "choices",
                        "delta",
                        "content",
                        "tool_calls",
                        "function",
                        "arguments",
                        "usage",
                        "type",
                        "text",
                        "meta_info",
                        "token_ids",
                        "message",
                        "completion_tokens",
                    ]
                ),
                inner,
            )
        ),
    )
)
def test_any_json_is_survived(content: object) -> None:
    total, tokens = count(event(content))
    assert total >= 0
    assert tokens >= 0


def test_token_ids_are_counted_where_no_text_is_sent() -> None:
    """vLLM's /inference/v1/generate."""
    total, tokens = count(event({"choices": [{"index": 0, "token_ids": [5, 6]}, {"token_ids": [7]}]}))
    assert total == tokens == 3
    assert count(event({"choices": [{"delta": {"content": ""}, "token_ids": None}]})) == (0, 0)
