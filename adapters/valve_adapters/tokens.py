"""Counts the tokens that a response body carries: events or one JSON document, in any engine's dialect."""

from __future__ import annotations

import re
from typing import Any

import orjson

from .sse import EventScanner

# Cannot match inside a JSON string: there the quotes are escaped.
TOTAL = re.compile(
    rb'"(?:completion_tokens|output_tokens|tokens_predicted|eval_count)"\s{0,8}:\s{0,8}(\d{1,12})'
)
ENDINGS = (b'_tokens"', b'_predicted"', b'_count"')  # of its names
OVERLAP = 64  # bytes: no match of TOTAL is longer
DELTA_TEXTS = ("content", "reasoning_content", "reasoning", "refusal")
BLOCK_TEXTS = ("text", "thinking", "partial_json")
BLANKS = b" \t\r\n"


class ResponseCounter:
    """Implements adapter.TokenCounter. The first byte that is not blank tells a document from a stream."""

    def __init__(self) -> None:
        self._follow: EventCounter | DocumentCounter | None = None

    def feed(self, data: bytes) -> int:
        if self._follow is None:
            start = data.lstrip(BLANKS)[:1]
            if not start:
                return 0
            self._follow = DocumentCounter() if start in b"{[" else EventCounter()
        return self._follow.feed(data)

    @property
    def tokens(self) -> int:
        return self._follow.tokens if self._follow else 0


class DocumentCounter:
    """One JSON document, or several (Ollama's routes stream them): its usage figure is all that matters, and
    only that is looked for.
    """

    def __init__(self) -> None:
        self._tail = b""
        self.tokens = 0

    def feed(self, data: bytes) -> int:
        text = self._tail + data
        self._tail = text[-OVERLAP:]
        if not any(ending in text for ending in ENDINGS):
            return 0
        total = max((int(digits) for digits in TOTAL.findall(text)), default=0)
        new = max(total - self.tokens, 0)
        self.tokens += new
        return new


class EventCounter:
    """A stream: one token per event with new text, or the engine's own total where that is more: an event may
    bring several tokens, and llama.cpp counts each of several choices by itself.
    """

    def __init__(self) -> None:
        self._scanner = EventScanner()
        self._deltas = 0
        self._usage = 0

    def feed(self, data: bytes) -> int:
        new = 0
        for event in self._scanner.feed(data):
            if event.startswith(b"{"):
                new += self._count(event)
        self._deltas += new
        return new

    @property
    def tokens(self) -> int:
        return max(self._usage, self._deltas)

    def _count(self, event: bytes) -> int:
        try:
            content = orjson.loads(event)
        except orjson.JSONDecodeError:
            return 0
        if b'_tokens"' in event or b'_predicted"' in event:
            self._usage = max(self._usage, usage_of(content))
        return deltas_of(content)


def deltas_of(event: dict[str, Any]) -> int:
    """How many choices the event gives new text to. A role, a name or an empty text is none.

    vLLM's own route sends no text: there it is the number of token ids.
    """
    choices = event.get("choices")
    if isinstance(choices, list):  # OpenAI chat and completions
        return sum(_token_ids(choice) or _choice_speaks(choice) for choice in choices)
    kind = event.get("type")
    if isinstance(kind, str):  # OpenAI responses, Anthropic messages
        return int(kind.endswith("delta") and _block_speaks(event.get("delta")))
    return int(_filled(event, ("content", "text")))  # llama.cpp's and SGLang's own routes


def usage_of(event: dict[str, Any]) -> int:
    """The engine's own total of generated tokens so far; 0 if the event has none."""
    inner = (event.get(key) for key in ("response", "message"))
    bodies = [event, *(body for body in inner if isinstance(body, dict))]
    reports = [*(body.get("usage") for body in bodies), event.get("meta_info"), event]
    totals = (
        report.get(key)
        for report in reports
        if isinstance(report, dict)
        for key in ("completion_tokens", "output_tokens", "tokens_predicted")
    )
    return max((total for total in totals if isinstance(total, int) and total > 0), default=0)


def _token_ids(choice: object) -> int:
    """vLLM fills them in on other routes, too, if asked to (return_token_ids)."""
    ids = choice.get("token_ids") if isinstance(choice, dict) else None
    return len(ids) if isinstance(ids, list) else 0


def _choice_speaks(choice: object) -> bool:
    if not isinstance(choice, dict):
        return False
    delta = choice.get("delta")
    if not isinstance(delta, dict):
        return _filled(choice, ("text",))
    return _filled(delta, DELTA_TEXTS) or _calls_speak(delta)


def _calls_speak(delta: dict[str, Any]) -> bool:
    calls = delta.get("tool_calls")
    functions = (
        [call.get("function") for call in calls if isinstance(call, dict)] if isinstance(calls, list) else []
    )
    functions.append(delta.get("function_call"))
    return any(_filled(function, ("arguments",)) for function in functions)


def _block_speaks(delta: object) -> bool:
    return bool(delta) if isinstance(delta, str) else _filled(delta, BLOCK_TEXTS)


def _filled(holder: object, keys: tuple[str, ...]) -> bool:
    if not isinstance(holder, dict):
        return False
    return any(isinstance(text := holder.get(key), str) and text for key in keys)
