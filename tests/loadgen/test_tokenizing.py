"""How an engine counts our words: by /tokenize, by its usage, or not at all."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import orjson
import pytest

from valve_loadgen.client import Client
from valve_loadgen.completions import Ask
from valve_loadgen.errors import BenchError
from valve_loadgen.prompts import WORDS
from valve_loadgen.target import Target
from valve_loadgen.tokenizing import calibrate, fit

from .scripted import plain, read_request

Answer = Callable[[str, dict[str, Any]], tuple[bytes, bytes]]
"""From path and body to status and answer."""
OK, NOT_FOUND = b"200 OK", b"404 Not Found"


@contextlib.asynccontextmanager
async def engine(answer: Answer) -> AsyncIterator[Client]:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError), contextlib.closing(writer):
            while True:
                head, _, body = (await read_request(reader)).partition(b"\r\n\r\n")
                path = head.split(b" ")[1].decode()
                status, content = answer(path, orjson.loads(body or b"{}"))
                writer.write(plain(content, status))

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    client = Client(Target(port=server.sockets[0].getsockname()[1]))
    try:
        yield client
    finally:
        client.close()
        server.close()
        await server.wait_closed()


def completion(words: str, per_word: int, template: int) -> bytes:
    usage = {"prompt_tokens": len(words.split()) * per_word + template, "completion_tokens": 1}
    first = orjson.dumps({"choices": [{"text": " a"}]})
    last = orjson.dumps({"choices": [], "usage": usage})
    return b"data: " + first + b"\n\ndata: " + last + b"\n\ndata: [DONE]\n\n"


def tokenizing(path: str, body: dict[str, Any]) -> tuple[bytes, bytes]:
    """An engine with /tokenize, for which 'money' is two tokens, and a template of 7."""
    if path == "/tokenize":
        tokens = [token for word in body["content"].split() for token in range(1 + (word == "money"))]
        return OK, orjson.dumps({"tokens": tokens})
    return OK, completion(body["messages"][-1]["content"], 1, 7)


async def test_words_of_one_token_and_the_template_are_found() -> None:
    async with engine(tokenizing) as client:
        vocabulary = await calibrate(client, Ask())
    assert set(WORDS) - set(vocabulary.words) == {"money"}
    assert (vocabulary.per_word, vocabulary.overhead) == (1.0, 7.0)
    assert len(vocabulary.text("a", 50).split()) == 43


async def test_usage_alone_calibrates() -> None:
    def answer(path: str, body: dict[str, Any]) -> tuple[bytes, bytes]:
        return (NOT_FOUND, b"") if path == "/tokenize" else (OK, completion(body["prompt"], 2, 1))

    async with engine(answer) as client:
        vocabulary = await calibrate(client, Ask(chat=False))
    assert (vocabulary.words, vocabulary.per_word, vocabulary.overhead) == (WORDS, 2.0, 1.0)
    assert vocabulary.source == "usage"


async def test_without_either_a_word_is_a_token() -> None:
    async with engine(lambda path, _body: (NOT_FOUND, b"") if path == "/tokenize" else (OK, b"")) as client:
        vocabulary = await calibrate(client, Ask())
    assert (vocabulary.per_word, vocabulary.overhead) == (1.0, 0.0)
    assert "assumption" in vocabulary.source


async def test_the_first_model_is_taken_and_refused_options_left_out() -> None:
    def answer(path: str, body: dict[str, Any]) -> tuple[bytes, bytes]:
        if path == "/v1/models":
            return OK, b'{"data": [{"id": "tiny"}]}'
        return (b"400 Bad Request", b"") if "ignore_eos" in body else (OK, completion("x", 1, 0))

    async with engine(answer) as client:
        assert await fit(client, None, chat=True) == Ask("tiny", chat=True, fixed_length=False)


async def test_a_server_that_refuses_everything_is_named() -> None:
    async with engine(lambda _path, _body: (NOT_FOUND, b"")) as client:
        with pytest.raises(BenchError, match="name a model with --model"):
            await fit(client, None, chat=True)
        with pytest.raises(BenchError, match="refuses a request: status 404"):
            await fit(client, "m", chat=True)
