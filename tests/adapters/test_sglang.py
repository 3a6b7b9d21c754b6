"""SGLang's routes, and its load as its server writes it."""

import httpx
import pytest

from valve_adapters.adapter import Kv, Load
from valve_adapters.sglang import SglangAdapter, from_loads, from_metrics, kv_from_metrics

ADAPTER = SglangAdapter()
INFERENCE = """
/generate /encode /classify /v1/completions /v1/chat/completions /v1/embeddings /v1/classify /v1/score
/v1/rerank /v1/responses /v1/messages /v1/decisions /v1/systemone /v1/audio/transcriptions /api/chat
/api/generate /invocations /vertex_generate
"""
IDLE = """
/tokenize /detokenize /v1/tokenize /v1/detokenize /v1/messages/count_tokens /v1/responses/resp_1/cancel
/parse_function_call /separate_reasoning /api/show /open_session /close_session /abort_request /flush_cache
/pause_generation /continue_generation /release_memory_occupation /resume_memory_occupation /start_profile
/stop_profile /load_lora_adapter /unload_lora_adapter /update_weights_from_disk /set_internal_state
/hicache/storage-backend/clear /configure_logging /freeze_gc
"""
LOADS = b"""{"timestamp":"2026-11-25T00:00:00+00:00","version":"0.5.23","accelerator":"cpu",
"num_accelerators":1,"loads":[{"timestamp":1.5,"dp_rank":0,"num_running_reqs":2,"num_waiting_reqs":1,"num_used_tokens":40,
"num_total_tokens":44,"max_total_num_tokens":16384,"token_usage":0.0025,"gen_throughput":10.5},
{"timestamp":1.5,"dp_rank":1,"num_running_reqs":1,"num_waiting_reqs":0,"num_used_tokens":4,
"num_total_tokens":4,"max_total_num_tokens":16384,"token_usage":0.5,"gen_throughput":0.0}]}"""
METRICS = b"""# TYPE sglang:num_running_reqs gauge
sglang:num_running_reqs{engine_type="unified",model_name="m",tp_rank="0"} 2.0
sglang:num_queue_reqs{engine_type="unified",model_name="m",tp_rank="0"} 1.0
sglang:token_usage{engine_type="unified",model_name="m",tp_rank="0"} 0.25
"""


@pytest.mark.parametrize("path", INFERENCE.split())
@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_inference(method: str, path: str) -> None:
    assert ADAPTER.is_inference(method, path, upgrade=False)


@pytest.mark.parametrize("path", IDLE.split())
def test_not_inference(path: str) -> None:
    assert not ADAPTER.is_inference("POST", path, upgrade=False)


def test_a_health_probe_does_not_preempt_although_it_generates() -> None:
    assert not ADAPTER.is_inference("GET", "/health", upgrade=False)
    assert not ADAPTER.is_inference("GET", "/health_generate", upgrade=False)
    assert ADAPTER.health_path == "/ready", "our own must not generate"


def test_loads() -> None:
    assert from_loads(LOADS) == Load(running=3, waiting=1, kv_usage=0.5)


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"{}", b'{"loads":[]}', b'{"loads":[{}]}', b'{"loads":[1]}', b'{"loads":null}',
     b'{"loads":[{"num_running_reqs":null,"num_waiting_reqs":0,"token_usage":0}]}'],
)  # fmt: skip
def test_loads_that_tell_nothing(body: bytes) -> None:
    assert from_loads(body) is None


def test_metrics() -> None:
    assert from_metrics(METRICS) == Load(running=2, waiting=1, kv_usage=0.25)
    assert from_metrics(b"") is None


def engine(asked: list[str], **answers: bytes) -> httpx.AsyncClient:
    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.path)
        body = answers.get(request.url.path.strip("/").replace("/", "_"))
        return httpx.Response(404) if body is None else httpx.Response(200, content=body)

    return httpx.AsyncClient(transport=httpx.MockTransport(answer), base_url="http://engine")


async def test_load_prefers_loads_then_metrics_then_gives_up() -> None:
    asked: list[str] = []
    async with engine(asked, v1_loads=LOADS, metrics=METRICS) as client:
        assert await ADAPTER.load(client) == Load(3, 1, 0.5)
    async with engine(asked, metrics=METRICS) as client:
        assert await ADAPTER.load(client) == Load(2, 1, 0.25)
    async with engine(asked) as client:
        assert await ADAPTER.load(client) is None
    assert set(asked) == {"/v1/loads", "/metrics"}, "never /health: it generates"


def test_what_can_be_evicted_is_free() -> None:
    gauges = (
        b'sglang:max_total_num_tokens{model_name="m"} 1000\n'
        b'sglang:kv_available_tokens{model_name="m"} 500\n'
        b'sglang:kv_evictable_tokens{model_name="m"} 300\n'
    )
    assert kv_from_metrics(gauges) == Kv(free=0.8, tokens=1000)
    assert kv_from_metrics(b"sglang:token_usage 0.25\n") == Kv(free=0.75, tokens=0)
    assert kv_from_metrics(b"sglang:num_running_reqs 1\n") is None
