"""What an engine's answer tells about itself: the model, why it ended, how long the prompt was.

Read once the answer is over, from its first and last bytes; nothing of the content is kept. The native data
plane's is native/intake/answer.c.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

START_BYTES = 1024
END_BYTES = 2048

# A name with its quotes cannot stand inside a JSON string: there the quotes are escaped.
MODEL, ID = b'"model"', b'"id"'
PROMPT = (b'"prompt_tokens"', b'"input_tokens"', b'"tokens_evaluated"')
TEXT = re.compile(rb'\s{0,8}:\s{0,8}"([^"\\\x00-\x1f]{1,128})"')
FINISH = tuple(
    re.compile(name + rb'\s{0,8}:\s{0,8}"(\w{1,32})"') for name in (b'"finish_reason"', b'"stop_reason"')
)
MAX_REASONS = 4  # several choices may end for several reasons
NUMBER = re.compile(rb"\s{0,8}:\s{0,8}(\d{1,9})\b")
STREAMS = (b"data:", b"event:", b"id:", b"retry:", b":")  # how server-sent events begin


@dataclass(frozen=True, slots=True)
class Answer:
    """Empty and 0: it does not say."""

    model: str = ""
    response_id: str = ""
    finish_reasons: tuple[str, ...] = ()
    input_tokens: int = 0
    streamed: bool = False  # tokens came as they were made; a document comes as a whole


NO_ANSWER = Answer()


def read_answer(start: bytes, end: bytes) -> Answer:
    """`start` and `end`: the body's first START_BYTES and last END_BYTES; they may overlap. Never raises."""
    streamed = start.lstrip().startswith(STREAMS)
    ends = (end,) if streamed else (end, start)  # a document may begin with how it ended
    return Answer(
        _first(start, MODEL, TEXT) or _first(end, MODEL, TEXT),
        _first(start, ID, TEXT),
        next(filter(None, map(_finish_reasons, ends)), ()),
        int(next(filter(None, map(_prompt_tokens, ends)), 0)),
        streamed,
    )


def _first(data: bytes, name: bytes, value: re.Pattern[bytes]) -> str:
    at = data.find(name)
    return _value(data, at + len(name), value) if at >= 0 else ""


def _prompt_tokens(data: bytes) -> str:
    for name in PROMPT:
        at = data.rfind(name)
        if at >= 0 and (found := _value(data, at + len(name), NUMBER)):
            return found
    return ""


def _finish_reasons(data: bytes) -> tuple[str, ...]:
    """Each once; most events of a stream say null."""
    found = [reason.decode() for pattern in FINISH for reason in pattern.findall(data)]
    return tuple(dict.fromkeys(found))[:MAX_REASONS]


def _value(data: bytes, at: int, value: re.Pattern[bytes]) -> str:
    found = value.match(data, at)
    return found[1].decode(errors="replace") if found else ""
