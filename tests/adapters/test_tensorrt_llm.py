"""TensorRT-LLM's routes; and that its load is never asked for. On an emulation of its server:
tests/integration/test_tensorrt_llm.py.
"""

import httpx
import pytest

from valve_adapters.adapter import Kv
from valve_adapters.tensorrt_llm import TensorRTLLMAdapter, kv_from_metrics

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


def test_kv_cache() -> None:
    gauges = (
        b"trtllm_kv_cache_max_blocks 200.0\n"
        b"trtllm_kv_cache_free_blocks 150.0\n"
        b"trtllm_kv_cache_tokens_per_block 32.0\n"
    )
    assert kv_from_metrics(gauges) == Kv(free=0.75, tokens=6400)
    assert kv_from_metrics(b"trtllm_num_requests_running 1.0\n") is None


async def test_kv_cache_is_not_there_without_its_metrics() -> None:
    async with httpx.AsyncClient(
        transport=httpx.MockTransport(lambda _: httpx.Response(404)), base_url="http://engine"
    ) as client:
        assert await ADAPTER.kv(client) is None
