"""vLLM's routes, and its load as its server writes it."""

import httpx
import pytest

from valve_adapters.adapter import Kv, Load
from valve_adapters.vllm import VllmAdapter, from_metrics, kv_from_metrics

ADAPTER = VllmAdapter()
INFERENCE = """
/v1/completions /v1/chat/completions /v1/chat/completions/batch /v1/responses /v1/messages /v1/decisions
/v1/systemone /inference/v1/generate /generative_scoring /v1/embeddings /v2/embed /pooling /classify /score
/v1/score /rerank /v1/rerank /v2/rerank /v1/audio/transcriptions /v1/audio/translations /invocations
/cohere/v2/chat
"""
IDLE = """
/ping /tokenize /detokenize /v1/messages/count_tokens /v1/chat/completions/render /v1/responses/render
/v1/completions/derender /cohere/v2/chat/render /v1/responses/resp_1/cancel /v1/load_lora_adapter
/v1/unload_lora_adapter /start_profile /stop_profile /scale_elastic_ep /is_scaling_elastic_ep /sleep /wake_up
/reset_prefix_cache /reset_mm_cache /reset_encoder_cache /collective_rpc /pause /resume /abort_requests
/inference/v1/abort_requests /update_weights /fault_tolerance/apply /release_kv_cache_memory
"""
METRICS = b"""# HELP vllm:num_requests_running Number of requests in model execution batches.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="m"} 2.0
# HELP vllm:num_requests_waiting Number of requests waiting to be processed.
# TYPE vllm:num_requests_waiting gauge
vllm:num_requests_waiting{engine="0",model_name="m"} 3.0
vllm:num_requests_waiting_by_reason{engine="0",model_name="m",reason="capacity"} 3.0
# TYPE vllm:kv_cache_usage_perc gauge
vllm:kv_cache_usage_perc{engine="0",model_name="m"} 0.0625
"""


@pytest.mark.parametrize("path", INFERENCE.split())
def test_inference(path: str) -> None:
    assert ADAPTER.is_inference("POST", path, upgrade=False)


@pytest.mark.parametrize("path", IDLE.split())
def test_not_inference(path: str) -> None:
    assert not ADAPTER.is_inference("POST", path, upgrade=False)


def test_metrics() -> None:
    assert from_metrics(METRICS) == Load(running=2, waiting=3, kv_usage=0.0625)
    second = METRICS.replace(b'engine="0"', b'engine="1"').replace(b"0.0625", b"0.5")
    assert from_metrics(METRICS + second) == Load(running=4, waiting=6, kv_usage=0.5)
    assert from_metrics(b"python_gc_objects_collected_total 1.0\n") is None


@pytest.mark.parametrize(("status", "load"), [(200, Load(2, 3, 0.0625)), (404, None)])
async def test_load(status: int, load: Load | None) -> None:
    asked = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(str(request.url))
        return httpx.Response(status, content=METRICS)

    async with httpx.AsyncClient(transport=httpx.MockTransport(answer), base_url="http://e") as client:
        assert await ADAPTER.load(client) == load
    assert asked == ["http://e/metrics"]


CACHE = b"""vllm:cache_config_info{block_size="16",cache_dtype="auto",engine="0",num_gpu_blocks="1024"} 1.0
vllm:kv_cache_usage_perc{engine="0",model_name="m"} 0.25
"""


def test_kv_cache() -> None:
    assert kv_from_metrics(CACHE) == Kv(free=0.75, tokens=16 * 1024)
    assert kv_from_metrics(CACHE.replace(b'"1024"', b'"None"')) == Kv(free=0.75, tokens=0)
    assert kv_from_metrics(b"vllm:num_requests_running 1.0\n") is None


async def test_kv_cache_is_read_from_the_server() -> None:
    transport = httpx.MockTransport(lambda _: httpx.Response(200, content=CACHE))
    async with httpx.AsyncClient(transport=transport, base_url="http://engine") as client:
        assert await ADAPTER.kv(client) == Kv(free=0.75, tokens=16 * 1024)
