"""What an engine's answer tells about itself: the model, why it ended, how long the prompt was.

Read once the answer is over, from its first and last bytes; nothing of the content is kept.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

START_BYTES = 1024
END_BYTES = 2048

# None of these can match inside a JSON string: there the quotes are escaped.
MODEL = re.compile(rb'"model"\s{0,8}:\s{0,8}"([^"\\\x00-\x1f]{1,128})"')
ID = re.compile(rb'"id"\s{0,8}:\s{0,8}"([\w.:-]{1,128})"')
FINISH = re.compile(rb'"(?:finish_reason|stop_reason)"\s{0,8}:\s{0,8}"(\w{1,32})"')
PROMPT = re.compile(rb'"(?:prompt_tokens|input_tokens|tokens_evaluated)"\s{0,8}:\s{0,8}(\d{1,9})\b')


@dataclass(frozen=True, slots=True)
class Answer:
    """Empty and 0: it does not say."""

    model: str = ""
    response_id: str = ""
    finish_reasons: tuple[str, ...] = ()
    input_tokens: int = 0
    streamed: bool = False  # tokens came as they were made; a document comes as a whole


STREAMS = (b"data:", b"event:", b"id:", b"retry:", b":")  # how server-sent events begin
NO_ANSWER = Answer()


def read_answer(start: bytes, end: bytes) -> Answer:
    """`start` and `end`: the body's first START_BYTES and last END_BYTES; they may overlap. Never raises."""
    finished = FINISH.findall(end) or FINISH.findall(start)
    prompt = PROMPT.search(end) or PROMPT.search(start)
    return Answer(
        _text(MODEL.search(start) or MODEL.search(end)),
        _text(ID.search(start)),
        tuple(dict.fromkeys(reason.decode() for reason in finished)),
        int(prompt[1]) if prompt else 0,
        start.lstrip().startswith(STREAMS),
    )


def _text(found: re.Match[bytes] | None) -> str:
    return found[1].decode(errors="replace") if found else ""
