"""A client's trace goes through the sidecar into a real vLLM, whose own span is a child of ours."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest
import pytest_asyncio
from tests.integration.collector import Collector, attributes
from tests.integration.stage import wait_until

from valve_loadgen.completions import PATH, completion
from valve_loadgen.lab import opened_lab

from .stand import DEADLINE_S

pytestmark = pytest.mark.asyncio(loop_scope="module")
TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
TOKENS = 8


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    collector = Collector()
    yield collector
    collector.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client(
    collector: Collector, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[httpx.AsyncClient]:
    """Of a sidecar before vLLM; both export to `collector`."""
    logs: Path = tmp_path_factory.mktemp("traces")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/protobuf")  # vLLM's default is gRPC
        with opened_lab(logs) as lab:
            endpoint = ("--otlp-traces-endpoint", f"{collector.url}/v1/traces")
            engine = await lab.start_engine("online", 1, False, *endpoint, engine="vllm")
            sidecar = await lab.start_sidecar(engine, "--device", "cpu", "--otlp-endpoint", collector.url)
            async with httpx.AsyncClient(base_url=str(sidecar), timeout=DEADLINE_S) as client:
                yield client


async def test_the_engines_span_is_a_child_of_ours(client: httpx.AsyncClient, collector: Collector) -> None:
    headers = {"traceparent": f"00-{TRACE}-{PARENT}-01"}
    response = await client.post(PATH, json=completion("Once upon a time", TOKENS), headers=headers)
    assert response.status_code == 200, response.text

    def both() -> bool:
        return bool(collector.named("llm_request") and collector.named("text_completion"))

    await asyncio.to_thread(wait_until, both, "both spans")
    (theirs,), (ours,) = collector.named("llm_request"), collector.named("text_completion")
    assert (ours.trace_id.hex(), ours.parent_span_id.hex()) == (TRACE, PARENT)
    assert (theirs.trace_id, theirs.parent_span_id) == (ours.trace_id, ours.span_id)
    tokens = attributes(theirs)["gen_ai.usage.completion_tokens"]
    assert attributes(ours)["gen_ai.usage.output_tokens"] == tokens == TOKENS
