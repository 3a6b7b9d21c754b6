"""Which requests make an OpenAI-compatible engine compute."""

import httpx
import pytest

from valve_adapters.openai import OpenAIAdapter

ADAPTER = OpenAIAdapter()
INFERENCE = """
/v1/completions /v1/chat/completions /v1/chat/completions/batch /v1/responses /v1/messages
/inference/v1/generate /generative_scoring /v1/embeddings /v2/embed /pooling /classify /score
/v1/score /rerank /v1/rerank /v2/rerank /v1/audio/transcriptions /v1/audio/translations /invocations
/cohere/v2/chat /generate /encode /api/chat /api/generate /vertex_generate
/a/route/that/nobody/knows / /v1/completions/
"""
IDLE = """
/ping /tokenize /detokenize /tokenize/ /v1/messages/count_tokens /v1/chat/completions/render
/v1/completions/derender /v1/responses/resp_1/cancel /v1/load_lora_adapter /v1/unload_lora_adapter
/start_profile /stop_profile /scale_elastic_ep /sleep /wake_up /reset_prefix_cache /flush_cache
/release_memory_occupation /resume_memory_occupation /pause_generation /continue_generation
/parse_function_call /abort_request
"""


@pytest.mark.parametrize("path", INFERENCE.split())
def test_unknown_posts_preempt(path: str) -> None:
    assert ADAPTER.is_inference("POST", path, upgrade=False)


@pytest.mark.parametrize("path", IDLE.split())
def test_posts_that_do_not_compute(path: str) -> None:
    assert not ADAPTER.is_inference("POST", path, upgrade=False)


async def test_the_load_is_not_known() -> None:
    async with httpx.AsyncClient(transport=httpx.MockTransport(lambda _: httpx.Response(500))) as client:
        assert await ADAPTER.load(client) is None
