"""TensorRT-LLM's routes; and that its load is never asked for. On an emulation of its server:
tests/integration/test_tensorrt_llm.py.
"""

import httpx
import pytest

from valve_adapters.tensorrt_llm import TensorRTLLMAdapter

ADAPTER = TensorRTLLMAdapter()
INFERENCE = """
/v1/completions /v1/chat/completions /v1/responses /v1/messages /v1/images/generations /v1/images/edits
/v1/videos /v1/videos/generations
"""
IDLE = """
/kv_cache_events /v1/kv_cache_hints /steady_clock_offset /release_memory /resume_memory /update_weights
/v1/messages/count_tokens /start_profile /stop_profile
"""


@pytest.mark.parametrize("path", INFERENCE.split())
def test_inference(path: str) -> None:
    assert ADAPTER.is_inference("POST", path, upgrade=False)


@pytest.mark.parametrize("path", IDLE.split())
def test_not_inference(path: str) -> None:
    assert not ADAPTER.is_inference("POST", path, upgrade=False)


async def test_nothing_is_read_from_it_that_can_be_read_once() -> None:
    asked = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.path)
        return httpx.Response(200, json=[])

    async with httpx.AsyncClient(transport=httpx.MockTransport(answer), base_url="http://engine") as client:
        assert await ADAPTER.load(client) is None
    assert asked == []
