"""Adapters by name, by asking and by command line; and what holds for every one of them."""

import httpx
import pytest

from valve_adapters.adapter import Adapter
from valve_adapters.registry import ADAPTERS, UnknownEngineError, by_name, detect, guess

UNKNOWN = """
/v1/completions /v1/chat/completions /v1/responses /v1/messages /v1/embeddings /v1/completions/
/a/route/that/nobody/knows / /tokenize/../v1/completions /%74okenize //tokenize /TOKENIZE /tokenize;x
"""
EVERY = [adapter() for adapter in ADAPTERS.values()]


def models(*owners: str) -> httpx.Response:
    return httpx.Response(200, json={"data": [{"id": "m", "owned_by": owner} for owner in owners]})


def engine(response: httpx.Response, asked: list[tuple[str, str]]) -> httpx.AsyncClient:
    def answer(request: httpx.Request) -> httpx.Response:
        asked.append((request.method, request.url.path))
        return response

    return httpx.AsyncClient(transport=httpx.MockTransport(answer), base_url="http://engine")


@pytest.mark.parametrize("name", ["openai", "llamacpp", "vllm", "sglang", "tensorrt-llm"])
def test_by_name(name: str) -> None:
    assert by_name(name).name == name


def test_an_unknown_name_lists_the_known() -> None:
    with pytest.raises(UnknownEngineError, match=r"'vlmm'.*llamacpp, openai, sglang, tensorrt-llm, vllm"):
        by_name("vlmm")


@pytest.mark.parametrize(
    ("response", "name"),
    [
        (models("llamacpp"), "llamacpp"),
        (models("vllm", "vllm"), "vllm"),
        (models("sglang"), "sglang"),
        (models("tensorrt_llm"), "tensorrt-llm"),
        (models("somebody"), "openai"),
        (models(), "openai"),
        (models(""), "openai"),
        (httpx.Response(401, json={"error": "Unauthorized"}), "openai"),
        (httpx.Response(404, json={"detail": "Not Found"}), "openai"),
        (httpx.Response(200, text="<html>"), "openai"),
        (httpx.Response(200, json=[]), "openai"),
        (httpx.Response(200, json={"data": [{"id": "m"}]}), "openai"),
        (httpx.Response(200, json={"data": [{"owned_by": ["vllm"]}]}), "openai"),
        (httpx.Response(200, json={"data": None}), "openai"),
    ],
)
async def test_detect(response: httpx.Response, name: str) -> None:
    asked: list[tuple[str, str]] = []
    async with engine(response, asked) as client:
        assert (await detect(client)).name == name
    assert asked == [("GET", "/v1/models")], "one cheap question"


async def test_an_engine_that_is_not_up_yet_is_asked_again_later() -> None:
    async with engine(httpx.Response(503, text="Loading model"), []) as client:
        with pytest.raises(httpx.HTTPError):
            await detect(client)


async def test_detect_without_an_engine() -> None:
    async with httpx.AsyncClient(base_url="http://127.0.0.1:1") as client:
        with pytest.raises(httpx.HTTPError):
            await detect(client)


@pytest.mark.parametrize(
    ("command", "name"),
    [
        ("vllm serve model", "vllm"),
        ("/opt/venv/bin/vllm run-batch -i in -o out --model llama-cli", "vllm"),
        ("python -m vllm.entrypoints.openai.run_batch", "vllm"),
        ("numactl -C 0 vllm bench throughput", "vllm"),
        ("python -m sglang.launch_server --model m", "sglang"),
        ("sglang serve", "sglang"),
        ("trtllm-serve model", "tensorrt-llm"),
        ("python -m tensorrt_llm.commands.bench", "tensorrt-llm"),
        ("./llama-server -m model.gguf", "llamacpp"),
        ("python batch.py", "openai"),
        ("python vllm_batch.py", "openai"),
        ("", "openai"),
    ],
)
def test_guess(command: str, name: str) -> None:
    assert guess(command.split()).name == name


# ---- every adapter ----


@pytest.mark.parametrize("adapter", EVERY, ids=list(ADAPTERS))
@pytest.mark.parametrize("path", ["/health", "/metrics", "/v1/models", "/v1/chat/completions", "/generate"])
def test_reading_never_preempts(adapter: Adapter, path: str) -> None:
    assert not any(adapter.is_inference(m, path, upgrade=False) for m in ("GET", "HEAD", "OPTIONS", "DELETE"))


@pytest.mark.parametrize("adapter", EVERY, ids=list(ADAPTERS))
@pytest.mark.parametrize("path", ["/v1/realtime", "/tokenize", "/slots/1"])
def test_an_upgrade_preempts(adapter: Adapter, path: str) -> None:
    assert adapter.is_inference("GET", path, upgrade=True)


@pytest.mark.parametrize("adapter", EVERY, ids=list(ADAPTERS))
@pytest.mark.parametrize("path", UNKNOWN.split())
def test_unknown_and_disguised_posts_preempt(adapter: Adapter, path: str) -> None:
    assert adapter.is_inference("POST", path, upgrade=False)


@pytest.mark.parametrize("adapter", EVERY, ids=list(ADAPTERS))
def test_its_times_make_sense(adapter: Adapter) -> None:
    assert 0 < adapter.keepalive_s <= 60
    assert 0 <= adapter.guard_s <= 30
    assert 0 < adapter.ask_again_s <= 5
