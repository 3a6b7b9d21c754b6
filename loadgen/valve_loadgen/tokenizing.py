"""Owns how many tokens an engine makes of our words: asks its /tokenize, then its own usage counts."""

import contextlib
from collections.abc import Sequence
from dataclasses import replace

import orjson

from valve_loadgen.arrivals import Planned
from valve_loadgen.client import Client
from valve_loadgen.completions import Ask
from valve_loadgen.errors import BenchError
from valve_loadgen.exchange import Exchange
from valve_loadgen.prompts import WORDS, Vocabulary

SHORT, LONG = 20, 120
WORDS_MIN = 16


async def calibrate(client: Client, ask: Ask) -> Vocabulary:
    """The vocabulary with which prompts come out exact.

    Words of one token each are chosen by /tokenize, where the engine has it; what its template adds is told
    by the usage of two short completions. Without either, a word counts as a token.
    """
    chosen = await _single_tokens(client, ask.model)
    words = chosen if len(chosen) >= WORDS_MIN else WORDS
    source = "/tokenize and usage" if words is chosen else "usage"
    short, long = await _usage(client, ask, words[:1] * SHORT), await _usage(client, ask, words[:1] * LONG)
    if short is None or long is None or long <= short:
        return Vocabulary(words, source="/tokenize") if words is chosen else Vocabulary()
    per_word = (long - short) / (LONG - SHORT)
    return Vocabulary(words, per_word, short - SHORT * per_word, source)


async def _single_tokens(client: Client, model: str) -> tuple[str, ...]:
    """The words that add one token each; empty if the engine does not tell."""
    base = await _count(client, model, "the the")
    if base is None:
        return ()
    counts = [(word, await _count(client, model, f"the the {word}")) for word in WORDS]
    return tuple(word for word, count in counts if count == base + 1)


async def _count(client: Client, model: str, text: str) -> int | None:
    body = {"model": model, "prompt": text, "content": text}  # vLLM and SGLang read one, llama.cpp the other
    exchange = Exchange("tokenize", "", 0)
    answer = await client.post(exchange, "/tokenize", body)
    if not exchange.ok:
        return None
    with contextlib.suppress(orjson.JSONDecodeError, KeyError, TypeError):
        return len(orjson.loads(answer)["tokens"])
    return None


async def _usage(client: Client, ask: Ask, words: Sequence[str]) -> int | None:
    exchange = await _try(client, ask, " ".join(words))
    if not exchange.ok:
        raise BenchError(
            f"{client.target} refuses a request: {exchange.error or f'status {exchange.status}'}"
        )
    return exchange.prompt_tokens


async def _try(client: Client, ask: Ask, text: str) -> Exchange:
    exchange = Exchange("calibrate", "", 0)
    await client.stream(exchange, ask.path, ask.body(Planned("calibrate", 0, text, 1)))
    return exchange


async def fit(client: Client, model: str | None, chat: bool) -> Ask:
    """How this endpoint can be asked: which model, and whether it lets the output's length be fixed.

    Raises BenchError when it answers neither way.
    """
    ask = Ask(model or await _first_model(client), chat)
    if (await _try(client, ask, "hello")).ok:
        return ask
    plain = replace(ask, fixed_length=False)
    await _usage(client, plain, ("hello",))
    return plain


async def _first_model(client: Client) -> str:
    status, answer = await client.get("/v1/models")
    try:
        return str(orjson.loads(answer)["data"][0]["id"])
    except (orjson.JSONDecodeError, KeyError, IndexError, TypeError) as error:
        raise BenchError(f"{client.target}/v1/models answered {status}; name a model with --model") from error
