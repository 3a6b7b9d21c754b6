"""Adapters by name and by asking."""

import httpx
import pytest

from valve_adapters.registry import UnknownEngineError, by_name, detect


@pytest.mark.parametrize("name", ["openai", "llamacpp"])
def test_by_name(name: str) -> None:
    assert by_name(name).name == name


def test_an_unknown_name_lists_the_known() -> None:
    with pytest.raises(UnknownEngineError, match=r"'vlmm'.*llamacpp, openai"):
        by_name("vlmm")


@pytest.mark.parametrize(
    ("response", "name"),
    [
        (httpx.Response(200, headers={"Server": "llama.cpp"}, json={}), "llamacpp"),
        (httpx.Response(503, headers={"Server": "llama.cpp"}, text="Loading model"), "llamacpp"),
        (
            httpx.Response(200, headers={"Server": "nginx"}, json={"default_generation_settings": {}}),
            "llamacpp",
        ),
        (httpx.Response(404, headers={"Server": "uvicorn"}, json={"detail": "Not Found"}), "openai"),
        (httpx.Response(200, text="<html>"), "openai"),
        (httpx.Response(200, json=[]), "openai"),
    ],
)
async def test_detect(response: httpx.Response, name: str) -> None:
    asked = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append((request.method, request.url.path))
        return response

    async with httpx.AsyncClient(transport=httpx.MockTransport(answer), base_url="http://engine") as client:
        assert (await detect(client)).name == name
    assert asked == [("GET", "/props")], "one cheap question"


async def test_detect_without_an_engine() -> None:
    async with httpx.AsyncClient(base_url="http://127.0.0.1:1") as client:
        with pytest.raises(httpx.HTTPError):
            await detect(client)
