"""Which operation a route stands for."""

import pytest

from valve_sidecar import semconv


@pytest.mark.parametrize(
    ("path", "operation"),
    [
        ("/v1/chat/completions", "chat"),
        ("/v1/messages", "chat"),
        ("/v1/completions/", "text_completion"),
        ("/generate", "text_completion"),
        ("/v1/embeddings", "embeddings"),
        ("/v1/rerank", "embeddings"),
        ("/made/up", "inference"),
    ],
)
def test_operations(path: str, operation: str) -> None:
    assert semconv.operation_of(path) == operation
