"""Each real engine as the online one: every route passes untouched and is counted right, the gate follows."""

from __future__ import annotations

import asyncio

import pytest

from .stand import Stand

pytestmark = pytest.mark.asyncio(loop_scope="session")
ROUTES = ("chat", "completions", "responses", "messages", "generate")
TOKENS = 12


async def test_the_sidecar_finds_out_what_the_engine_is(stand: Stand) -> None:
    state = await stand.lab.state()
    assert state["engine"] == stand.name


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("route", ROUTES)
async def test_a_response_is_the_engines_to_the_byte_and_counted(
    stand: Stand, route: str, stream: bool
) -> None:
    asked = stand.route(route)
    answer = await stand.ask("POST", asked.path, asked.ask(stream=stream, tokens=TOKENS))
    assert answer.response.status_code == 200, answer.response.text
    assert answer.response.content == answer.engine_body
    assert answer.response.headers["Content-Type"].startswith("text/event-stream") == stream
    record = await stand.record("request", answer.request_id)
    assert record["tokens"] == (answer.usage or TOKENS)
    assert record["outcome"] == "completed"
    assert 0 < record["first_token_ns"] <= record["last_token_ns"] <= record["finished_ns"]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/chat/completions", {"model": "default"}),
        ("/v1/completions", {"model": "nobody", "prompt": 1.5}),
        ("/v1/embeddings", {"model": "default", "input": "text"}),
        ("/no/such/route", {}),
    ],
)
async def test_what_the_engine_refuses_is_refused_in_its_own_words(
    stand: Stand, path: str, body: dict[str, object]
) -> None:
    answer = await stand.ask("POST", path, body)
    direct = await stand.direct.post(path, json=body)
    assert answer.response.status_code == direct.status_code >= 400
    assert answer.response.content == answer.engine_body == direct.content
    await stand.gate("open")


@pytest.mark.parametrize("path", ["/metrics", "/health", "/v1/models"])
async def test_probes_pass_untouched_and_do_not_preempt(stand: Stand, path: str) -> None:
    await stand.gate("open")
    answer = await stand.ask("GET", path)
    assert answer.response.status_code == 200
    assert answer.response.content == answer.engine_body
    await stand.look()
    assert answer.request_id not in {event.get("request_id") for event in stand.events}
    assert (await stand.lab.state())["gate"] == "open"


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
async def test_the_gate_opens_only_when_a_cancelled_engine_computes_no_more(
    stand: Stand, stream: bool
) -> None:
    asked, request_id = stand.route("completions"), f"cancel-{stream}"
    body, headers = asked.ask(stream=stream, tokens=1500), {"X-Request-Id": request_id}
    request = asyncio.create_task(stand.client.post(asked.path, json=body, headers=headers))
    await stand.until_computing()
    request.cancel()
    opened = await stand.opened_after(await stand.record("close", request_id))
    assert not await stand.computing(), "1500 tokens take longer than that"
    record = await stand.record("request", request_id)
    assert record["outcome"] == "client_gone"
    assert opened["t_ns"] > record["finished_ns"]


async def test_overlapping_requests_close_the_gate_once_and_the_last_one_opens_it(stand: Stand) -> None:
    await stand.gate("open")
    asked = stand.route("completions")
    answers = await asyncio.gather(
        *(stand.ask("POST", asked.path, asked.ask(stream=True, tokens=8 * n)) for n in (2, 3, 4))
    )
    records = [await stand.record("request", answer.request_id) for answer in answers]
    assert sorted(record["closed_gate"] for record in records) == [False, False, True]
    (close,) = [
        e for e in stand.events if e["kind"] == "close" and e["generation"] == records[0]["generation"]
    ]
    opened = await stand.opened_after(close)
    assert opened["t_ns"] > max(record["finished_ns"] for record in records)
