"""The TensorRT-LLM adapter through a real sidecar, on an emulation of that engine's HTTP surface."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from .emulated_tensorrt_llm import IDLE_POSTS, EmulatedTensorRTLLM
from .stage import DEADLINE_S, Sidecar, Stage, wait_until

pytestmark = pytest.mark.integration


@pytest.fixture
def engine() -> Iterator[EmulatedTensorRTLLM]:
    made = EmulatedTensorRTLLM()
    yield made
    made.close()


@pytest.fixture
def sidecar(stage: Stage, engine: EmulatedTensorRTLLM) -> Sidecar:
    return stage.sidecar(upstream=engine.url)


def ask(sidecar: Sidecar, path: str, **body: Any) -> httpx.Response:
    return httpx.post(f"{sidecar.listen}{path}", json=body, timeout=DEADLINE_S)


def wait_request(sidecar: Sidecar, number: int) -> dict[str, Any]:
    return dict(wait_until(lambda: sidecar.events("request")[number - 1 : number], "it is told")[0])


def test_it_is_recognised(sidecar: Sidecar) -> None:
    assert sidecar.state()["engine"] == "tensorrt-llm"


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/completions"])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"stream": True},
        {"stream": True, "stream_options": {"include_usage": True}},
        {"stream": True, "stream_options": {"include_usage": True, "continuous_usage_stats": True}},
    ],
    ids=["whole", "stream", "usage", "continuous"],
)
def test_tokens_are_counted(sidecar: Sidecar, path: str, options: dict[str, Any]) -> None:
    answer = ask(sidecar, path, max_tokens=7, **options)
    assert answer.status_code == 200
    told = wait_request(sidecar, 1)
    assert (told["tokens"], told["outcome"], told["closed_gate"]) == (7, "completed", True)


def test_what_can_be_read_once_is_left_to_its_reader(sidecar: Sidecar, engine: EmulatedTensorRTLLM) -> None:
    ask(sidecar, "/v1/completions", max_tokens=5)
    go_away(sidecar)
    assert httpx.get(f"{sidecar.admin}/readyz").status_code == 200
    wait_until(lambda: sidecar.state()["gate"] == "open", "the gate opens")
    taken = len(httpx.get(f"{sidecar.listen}/metrics").json())
    assert taken > 5
    assert engine.completed == 1, "no probe of ours generated anything"


def go_away(sidecar: Sidecar) -> None:
    """A client that leaves in the middle of a long stream."""
    with httpx.stream(
        "POST",
        f"{sidecar.listen}/v1/completions",
        json={"stream": True, "max_tokens": 100_000},
        timeout=DEADLINE_S,
    ) as response:
        next(response.iter_raw())


def test_after_a_disconnect_the_gate_waits_until_it_has_noticed(
    sidecar: Sidecar, engine: EmulatedTensorRTLLM
) -> None:
    go_away(sidecar)
    (opened,) = wait_until(lambda: sidecar.events("open"), "the gate opens")
    assert engine.running == 0
    assert 0 < engine.ended_ns < opened["t_ns"]


def test_administration_and_probes_do_not_preempt(sidecar: Sidecar, engine: EmulatedTensorRTLLM) -> None:
    for path in IDLE_POSTS.split():
        assert ask(sidecar, path).status_code == 200
    for path in ("/health", "/version", "/v1/models", "/metrics"):
        assert httpx.get(f"{sidecar.listen}{path}").status_code == 200
    assert engine.posts == IDLE_POSTS.split()
    assert sidecar.state()["counters"]["gate_closes"] == 0
