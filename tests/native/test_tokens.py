"""Counting without JSON against counting with it, on every dialect and however the bytes are cut."""

import itertools

import orjson
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from valve_adapters.tokens import ResponseCounter

from .probe import Tokens

TEXTS = st.one_of(
    st.just(""), st.text(max_size=30), st.sampled_from(['"content":"x"', "\\", "data: {", "delta"])
)
MAYBE = st.one_of(st.none(), TEXTS)
COUNTS = st.integers(0, 100_000)
USAGE = st.fixed_dictionaries({}, optional={"completion_tokens": COUNTS, "prompt_tokens": COUNTS})
FUNCTION = st.fixed_dictionaries({}, optional={"name": TEXTS, "arguments": MAYBE})
DELTA = st.fixed_dictionaries(
    {},
    optional={
        "role": st.just("assistant"),
        "content": MAYBE,
        "reasoning_content": MAYBE,
        "reasoning": MAYBE,
        "refusal": MAYBE,
        "tool_calls": st.lists(
            st.fixed_dictionaries({"type": st.just("function"), "function": FUNCTION}), max_size=2
        ),
        "function_call": FUNCTION,
    },
)
LOGPROBS = st.just(
    {"content": [{"token": "text", "bytes": [1], "top_logprobs": [{"text": "x", "token": "y"}]}]}
)
CHAT_CHOICE = st.fixed_dictionaries(
    {"index": COUNTS, "delta": DELTA},
    optional={"logprobs": LOGPROBS, "token_ids": st.lists(COUNTS, max_size=3)},
)
IDS = st.one_of(st.none(), st.lists(COUNTS, max_size=4), st.just({"a": 1}))
TEXT_CHOICE = st.fixed_dictionaries(
    {"index": COUNTS, "text": MAYBE}, optional={"finish_reason": MAYBE, "token_ids": IDS}
)
CHAT = st.fixed_dictionaries(
    {"object": TEXTS, "choices": st.lists(st.one_of(CHAT_CHOICE, TEXT_CHOICE), max_size=3)},
    optional={"usage": st.one_of(st.none(), USAGE)},
)
BLOCK = st.fixed_dictionaries(
    {}, optional={"type": TEXTS, "text": TEXTS, "thinking": TEXTS, "partial_json": TEXTS}
)
INNER = st.fixed_dictionaries(
    {}, optional={"usage": st.fixed_dictionaries({"output_tokens": COUNTS}), "id": TEXTS}
)
TYPED = st.fixed_dictionaries(
    {"type": st.sampled_from(["response.output_text.delta", "content_block_delta", "message_stop", "ping"])},
    optional={
        "delta": st.one_of(TEXTS, BLOCK),
        "text": TEXTS,
        "response": INNER,
        "message": INNER,
        "usage": USAGE,
    },
)
PLAIN = st.fixed_dictionaries(
    {},
    optional={
        "content": MAYBE,
        "text": MAYBE,
        "tokens_predicted": COUNTS,
        "eval_count": COUNTS,
        "prompt_eval_count": COUNTS,
        "meta_info": st.fixed_dictionaries({"completion_tokens": COUNTS}),
        "stop": st.booleans(),
        "generation_settings": st.just({"text": "no", "list": [1, 2.5, None, {"content": "no"}]}),
    },
)
EVENTS = st.lists(st.one_of(CHAT, TYPED, PLAIN), max_size=6)
ENDS = st.sampled_from([b"\n\n", b"\r\n\r\n", b"\r\r", b"\n: ping\n\n", b"\nid: 7\nretry: 1\n\n"])


@st.composite
def streams(draw: st.DrawFn) -> bytes:
    start = draw(st.sampled_from([b"data: ", b"data:", b"event: x\ndata: "]))
    parts = [start + orjson.dumps(event) + draw(ENDS) for event in draw(EVENTS)]
    return b"".join(parts) + draw(st.sampled_from([b"", b"data: [DONE]\n\n", b"data: {"]))


# Large inputs, on machines that are shared.
settings.register_profile("native", deadline=None, suppress_health_check=[HealthCheck.too_slow])
NATIVE = settings(settings.get_profile("native"), max_examples=200)


def pieces_of(data: bytes, cuts: list[int]) -> list[bytes]:
    places = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return [data[begin:end] for begin, end in itertools.pairwise(places)]


def compare(pieces: list[bytes]) -> None:
    ours, reference = Tokens(), ResponseCounter()
    for piece in pieces:
        assert ours.feed(piece) == reference.feed(piece), (pieces, piece)
    assert ours.tokens == reference.tokens
    ours.close()


@NATIVE
@given(streams(), st.lists(st.integers(0, 1 << 16), max_size=8))
def test_streams(data: bytes, cuts: list[int]) -> None:
    compare(pieces_of(data, cuts))


@NATIVE
@given(streams())
def test_a_stream_byte_by_byte(data: bytes) -> None:
    compare([data[at : at + 1] for at in range(len(data))])


@NATIVE
@given(st.one_of(CHAT, TYPED, PLAIN), st.lists(st.integers(0, 1 << 16), max_size=8), st.booleans())
def test_documents(content: dict[str, object], cuts: list[int], indented: bool) -> None:
    data = b"\n " + orjson.dumps(content, option=orjson.OPT_INDENT_2 if indented else None)
    compare(pieces_of(data, cuts))


@NATIVE
@given(st.lists(st.binary(max_size=200), max_size=5))
@example([b"data: {}\n\n", b"\xff\x00data:"])
def test_any_bytes_are_survived(pieces: list[bytes]) -> None:
    ours = Tokens()
    for piece in pieces:
        ours.feed(b"data: {" + piece)
        ours.feed(piece)
    ours.close()


@pytest.mark.parametrize("tokens", [1, 17, 4096])
def test_a_large_document_with_its_figure_at_the_end(tokens: int) -> None:
    data = b'{"text":"' + b"x" * 200_000 + b'","usage":{"completion_tokens": %d}}' % tokens
    compare([data[at : at + 65_536] for at in range(0, len(data), 65_536)])
