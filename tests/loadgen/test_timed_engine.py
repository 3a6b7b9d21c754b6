"""The engine that keeps the planner's time: its batch against the planner's simulation, its server once."""

import asyncio
import time
from array import array

import orjson
import pytest
from aiohttp.test_utils import TestClient, TestServer
from hypothesis import given
from hypothesis import strategies as st

from valve_loadgen.plan.engine import Engine
from valve_loadgen.plan.kernel import Fleet, Rule, simulate
from valve_loadgen.plan.requests import Requests
from valve_loadgen.timed_engine import Batch, Sequence, TimedEngine, burn

ENGINE = Engine(step_ms=8, sequence_us=500, prefill_tokens_per_s=1000, batch=3, chunk=40)
REQUEST = st.tuples(st.integers(0, 300), st.integers(1, 90), st.integers(1, 9))


def played(requests: list[tuple[float, int, int]]) -> list[tuple[float, float]]:
    """(first token, last token) of each, in seconds: iterations end to end from the first arrival on."""
    batch, now_s = Batch(ENGINE), 0.0
    coming = [(at_s, Sequence(prompt, answer)) for at_s, prompt, answer in requests]
    order = [sequence for _, sequence in coming]
    first_s: dict[Sequence, float] = {}
    last_s: dict[Sequence, float] = {}
    while coming or batch:
        if not batch:
            now_s = max(now_s, coming[0][0])
        while coming and coming[0][0] <= now_s + 1e-9:
            batch.add(coming.pop(0)[1])
        now_s += batch.begin()
        for sequence in batch.end():
            first_s.setdefault(sequence, now_s)
            last_s[sequence] = now_s
    return [(first_s[each], last_s[each]) for each in order]


@given(st.lists(REQUEST, min_size=1, max_size=12))
def test_its_tokens_come_when_the_planner_says(drawn: list[tuple[int, int, int]]) -> None:
    requests = sorted((at_ms / 1e3, prompt, answer) for at_ms, prompt, answer in drawn)
    columns = Requests(
        10.0,
        ["all"],
        array("d", (at_s for at_s, _, _ in requests)),
        array("I", (prompt for _, prompt, _ in requests)),
        array("I", (answer for _, _, answer in requests)),
        array("I", [0] * len(requests)),
    )
    told = simulate(ENGINE, columns, Fleet(1, [(0, 1)], Rule.ROTATE))
    for (first_s, last_s), expected_first_s, expected_last_s in zip(
        played(requests), told.first_s, told.done_s, strict=True
    ):
        assert abs(first_s - expected_first_s) < 1e-6
        assert abs(last_s - expected_last_s) < 1e-6


def test_who_has_gone_takes_no_part() -> None:
    batch, gone, stays = Batch(ENGINE), Sequence(1, 5), Sequence(1, 5)
    batch.add(gone)
    batch.add(stays)
    batch.begin()
    batch.drop(gone)
    assert batch.end() == [stays]


@pytest.mark.parametrize("burns", [False, True])
async def test_it_streams_as_many_tokens_as_asked(burns: bool) -> None:
    async with TestClient(TestServer(TimedEngine(ENGINE, burns=burns).app())) as client:
        assert (await client.get("/health")).status == 200
        bodies = await asyncio.gather(*(_completed(client, tokens) for tokens in (1, 4)))
    for tokens, body in zip((1, 4), bodies, strict=True):
        *events, usage, done = [line.removeprefix("data: ") for line in body.split("\n\n") if line]
        assert [orjson.loads(each)["choices"][0]["text"] for each in events] == [" token"] * tokens
        assert orjson.loads(usage)["usage"] == {"completion_tokens": tokens}
        assert done == "[DONE]"


async def test_it_tells_how_many_requests_it_has() -> None:
    asked = {"prompt": "one", "max_tokens": 900}
    async with (
        TestClient(TestServer(TimedEngine(ENGINE).app())) as client,
        client.post("/v1/completions", json=asked) as answer,
    ):
        await answer.content.readany()
        assert await (await client.get("/metrics")).text() == "timed:requests 1\n"


def test_burnt_time_is_processor_time() -> None:
    begin_s = time.thread_time()
    burn(0.003)
    assert time.thread_time() - begin_s >= 0.003


async def _completed(client: TestClient, tokens: int) -> str:  # type: ignore[type-arg]
    answer = await client.post("/v1/completions", json={"prompt": "one two", "max_tokens": tokens})
    return await answer.text()
