"""llama.cpp's routes, and its load as the real server writes it."""

import httpx
import pytest

from valve_adapters.adapter import Load
from valve_adapters.llamacpp import LlamaCppAdapter, from_metrics, from_slots, slots_of

ADAPTER = LlamaCppAdapter()
METRICS = b"""# HELP llamacpp:predicted_tokens_seconds Average generation throughput in tokens/s.
# TYPE llamacpp:predicted_tokens_seconds gauge
llamacpp:predicted_tokens_seconds 57.6
# HELP llamacpp:requests_processing Number of requests processing
# TYPE llamacpp:requests_processing gauge
llamacpp:requests_processing 2
# HELP llamacpp:requests_deferred Number of requests deferred
# TYPE llamacpp:requests_deferred gauge
llamacpp:requests_deferred 3
"""
SLOTS = b'[{"id":0,"is_processing":true,"n_ctx":512},{"id":1,"is_processing":false,"n_ctx":512}]'


def test_how_many_requests_it_runs_together() -> None:
    assert slots_of(b'{"default_generation_settings":{},"total_slots":4,"model_path":"m.gguf"}') == 4
    for other in (b"{}", b"[]", b'{"total_slots":"4"}', b"not json", b"null"):
        assert slots_of(other) == 0


INFERENCE = """
/completion /completions /v1/completions /v1/chat/completions /chat/completions /v1/messages
/v1/responses /infill /embedding /embeddings /v1/embeddings /rerank /v1/reranking /api/chat /new
"""


@pytest.mark.parametrize("path", INFERENCE.split())
def test_inference(path: str) -> None:
    assert ADAPTER.is_inference("POST", path, upgrade=False)
    assert not ADAPTER.is_inference("GET", path, upgrade=False)


IDLE = """
/tokenize /detokenize /apply-template /props /slots /slots/0 /slots/12 /lora-adapters
/v1/messages/count_tokens /models/load /api/show
"""


@pytest.mark.parametrize("path", IDLE.split())
def test_not_inference(path: str) -> None:
    assert not ADAPTER.is_inference("POST", path, upgrade=False)


@pytest.mark.parametrize("path", ["/slots", "/props", "/health", "/metrics", "/v1/models"])
def test_probes(path: str) -> None:
    assert not ADAPTER.is_inference("GET", path, upgrade=False)


def test_metrics() -> None:
    assert from_metrics(METRICS) == Load(running=2, waiting=3)
    assert from_metrics(b"llamacpp:requests_processing 0\n") == Load(running=0, waiting=0)
    assert from_metrics(b"llamacpp:requests_processing 1e+00\n") == Load(running=1, waiting=0)
    assert from_metrics(b"") is None


def test_slots() -> None:
    assert from_slots(SLOTS) == Load(running=1, waiting=0)
    for other in (b"", b"{}", b"[1]", b"null"):
        assert from_slots(other) is None


def engine(**answers: bytes) -> httpx.AsyncClient:
    """A server that knows these paths; 501 for the others, as llama.cpp says where they are switched off."""

    def answer(request: httpx.Request) -> httpx.Response:
        body = answers.get(request.url.path.strip("/"))
        return httpx.Response(501) if body is None else httpx.Response(200, content=body)

    return httpx.AsyncClient(transport=httpx.MockTransport(answer), base_url="http://engine")


async def test_load_prefers_metrics_then_slots_then_gives_up() -> None:
    async with engine(metrics=METRICS, slots=SLOTS) as client:
        assert await ADAPTER.load(client) == Load(running=2, waiting=3)
    async with engine(slots=SLOTS) as client:
        assert await ADAPTER.load(client) == Load(running=1, waiting=0)
    async with engine() as client:
        assert await ADAPTER.load(client) is None


async def test_an_engine_that_is_gone() -> None:
    async with httpx.AsyncClient(base_url="http://127.0.0.1:1") as client:
        with pytest.raises(httpx.HTTPError):
            await ADAPTER.load(client)


def test_idle() -> None:
    assert Load(running=0, waiting=0).idle
    assert not Load(running=0, waiting=1).idle


def test_it_is_not_asked_so_often_that_it_overlooks_a_gone_client() -> None:
    assert LlamaCppAdapter().ask_again_s > 1
