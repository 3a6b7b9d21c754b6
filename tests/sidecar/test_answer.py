"""What an answer's first and last bytes tell, in the dialects of real engines."""

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from valve_sidecar.answer import Answer, read_answer

CHUNK = b'data: {"id":"chatcmpl-1","object":"chunk","model":"qwen/Qwen3-8B","choices":[{"delta":{}}]}'
LAST = (
    b'data: {"id":"chatcmpl-1","model":"qwen/Qwen3-8B","choices":[{"delta":{},"finish_reason":"length"}]}\n\n'
    b'data: {"choices":[],"usage":{"prompt_tokens":12,"completion_tokens":3}}\n\ndata: [DONE]\n\n'
)


def test_a_stream() -> None:
    assert read_answer(CHUNK, LAST) == Answer("qwen/Qwen3-8B", "chatcmpl-1", ("length",), 12, streamed=True)


@pytest.mark.parametrize(
    ("document", "reason", "prompt"),
    [
        ({"model": "m", "stop_reason": "end_turn", "usage": {"input_tokens": 5}}, "end_turn", 5),
        ({"model": "m", "choices": [{"finish_reason": "stop"}], "tokens_evaluated": 9}, "stop", 9),
    ],
)
def test_documents(document: dict[str, object], reason: str, prompt: int) -> None:
    body = orjson.dumps(document)
    assert read_answer(body, body) == Answer("m", "", (reason,), prompt)


def test_several_choices_end_for_several_reasons() -> None:
    body = b'{"choices":[{"finish_reason":"stop"},{"finish_reason":"length"},{"finish_reason":"stop"}]}'
    assert read_answer(b"", body).finish_reasons == ("stop", "length")


@given(st.text())
def test_what_a_person_or_a_model_wrote_is_never_taken_for_a_fact(said: str) -> None:
    content = f'"model":"evil" "finish_reason":"evil" "prompt_tokens":666 "id":"evil" {said}'
    body = orjson.dumps({"choices": [{"message": {"content": content}}]})
    assert read_answer(body, body) == Answer()


@given(st.binary(), st.binary())
def test_any_bytes_are_harmless(start: bytes, end: bytes) -> None:
    assert isinstance(read_answer(start, end), Answer)
