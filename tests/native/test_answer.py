"""What an answer's ends tell, in C against Python: whatever they hold, and however the bytes are cut."""

import itertools

from hypothesis import example, given, settings
from hypothesis import strategies as st

from valve_sidecar.answer import END_BYTES, START_BYTES, Answer, read_answer

from .probe import read_ends

NAMES = st.sampled_from(
    [
        b'"model"',
        b'"id"',
        b'"finish_reason"',
        b'"stop_reason"',
        b'"prompt_tokens"',
        b'"input_tokens"',
        b'"tokens_evaluated"',
        b'"finish_reason',
        b'\\"model\\"',
    ]
)
COLONS = st.sampled_from(
    [b":"] * 6 + [b" : ", b":\t\r\n\x0b\x0c ", b"", b"::", b" " * 9 + b":", b": " + b" " * 8]
)
VALUES = st.one_of(
    st.sampled_from(
        [b'"stop"', b'"length"', b"null", b"12", b"0", b'""', b'"a b"', b"1234567890", b"123456789", b"7a"]
    ),
    st.sampled_from(
        [b'"a\\"b"', b'"' + b"m" * 128 + b'"', b'"' + b"m" * 129 + b'"', b'"\xff\xc3\xa9"', b'"open', b"{"]
    ),
    st.from_regex(rb'"\w{1,34}"', fullmatch=True),
    st.binary(max_size=6),
)
FIELDS = st.builds(lambda name, colon, value: name + colon + value, NAMES, COLONS, VALUES)
FILLERS = st.one_of(
    st.sampled_from([b",", b"}", b"{", b"data: ", b"\n\n", b'"', b"", b'"finish_reason"']),
    st.integers(0, 3000).map(lambda size: b"x" * size),
    st.binary(max_size=8),
)
STARTS = st.sampled_from(
    [b"", b"data: ", b"event: x\n", b" \r\n\x0b\x0cid:", b"retry:1", b": ping", b"{", b"dat"]
)


@st.composite
def bodies(draw: st.DrawFn) -> bytes:
    parts = draw(st.lists(st.one_of(FIELDS, FIELDS, FILLERS), max_size=14))
    return draw(STARTS) + b"".join(parts)


def answer_in_c(pieces: list[bytes]) -> Answer:
    facts = read_ends(pieces)
    reasons = tuple(filter(None, facts.text("finish_reasons").split(",")))
    model, response_id = facts.text("model"), facts.text("response_id")
    return Answer(model, response_id, reasons, facts.input_tokens, bool(facts.streamed))


@settings(deadline=None, max_examples=1500)
@given(bodies(), st.lists(st.integers(0, 1 << 16), max_size=6))
@example(b"x" * (END_BYTES - 1) + b'"finish_reason":"stop"', [1])
@example(b'"finish_reason":"x"finish_reason":"y"finish_reason"', [])
def test_it_is_what_the_reference_reads(body: bytes, cuts: list[int]) -> None:
    places = [0, *sorted(cut % (len(body) + 1) for cut in cuts), len(body)]
    pieces = [body[begin:end] for begin, end in itertools.pairwise(places)]
    assert answer_in_c(pieces) == read_answer(body[:START_BYTES], body[-END_BYTES:])


def test_a_long_stream_byte_by_byte() -> None:
    event = b'data: {"id":"c-%d","model":"m","choices":[{"delta":{"content":"x"},"finish_reason":null}]}\n\n'
    last = b'data: {"choices":[{"finish_reason":"length"}],"usage":{"prompt_tokens":12}}\n\ndata: [DONE]\n\n'
    body = b"".join(event % number for number in range(60)) + last
    found = answer_in_c([body[at : at + 1] for at in range(len(body))])
    assert found == Answer("m", "c-0", ("length",), 12, streamed=True)
