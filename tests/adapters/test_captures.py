"""The token counter on responses as real servers sent them (tests/engines/capture.py recorded them)."""

from pathlib import Path

import pytest

from valve_adapters.tokens import ResponseCounter

FOLDER = Path(__file__).with_name("captures")
CAPTURES = sorted(FOLDER.rglob("*.txt"))
ENGINES = sorted(path.name for path in FOLDER.iterdir())
TOKENS = 12  # what every request asked for; messages and responses end by themselves after 7
# Without usage, an event that holds several tokens counts as one: whole characters and detokenised words.
FLOORS = {
    "vllm-0.32.0/chat-no-usage": 9,
    "sglang-0.5.23/chat-no-usage": 9,
    "sglang-0.5.23/completions-no-usage": 11,
}


def name_of(path: Path) -> str:
    return str(path.relative_to(FOLDER).with_suffix(""))


def expected(name: str) -> int:
    short = name.split("/")[1]
    if short.endswith("two-choices"):
        return 2 * TOKENS
    return FLOORS.get(name, 7 if short.startswith(("messages", "responses")) else TOKENS)


@pytest.mark.parametrize("path", CAPTURES, ids=name_of)
def test_a_real_response_is_counted(path: Path) -> None:
    counter = ResponseCounter()
    counter.feed(path.read_bytes())
    assert counter.tokens == expected(name_of(path))


@pytest.mark.parametrize("path", CAPTURES, ids=name_of)
def test_however_it_was_cut(path: Path) -> None:
    body, counter = path.read_bytes(), ResponseCounter()
    for begin in range(0, len(body), 7):
        counter.feed(body[begin : begin + 7])
    assert counter.tokens == expected(name_of(path))


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    ("route", "mark"),
    [
        ("chat", b'"content":"'),
        ("completions", b'"text":"'),
        ("messages", b"content_block_delta"),
        ("responses", b"response.output_text.delta"),
        ("generate", b""),
    ],
)
def test_the_first_token_is_seen_when_it_comes(engine: str, route: str, mark: bytes) -> None:
    """Not with a role, a preamble or an envelope."""
    events = (FOLDER / engine / f"{route}.txt").read_bytes().split(b"\n\n")
    counter = ResponseCounter()
    first = next(event for event in events if counter.feed(event + b"\n\n"))
    speaking = (event for event in events if mark in event and b'"role":"assistant"' not in event)
    assert first == next(speaking)
