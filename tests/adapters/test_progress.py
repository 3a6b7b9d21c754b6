"""Where an offline engine tells its tokens, and what it tells."""

import pytest

from valve_adapters.progress import metrics_url, tokens_told
from valve_adapters.registry import guess

VLLM = b"""# TYPE vllm:generation_tokens_total counter
vllm:generation_tokens_total{engine="0",model_name="m"} 1234.0
vllm:generation_tokens_total{engine="1",model_name="m"} 1000.0
vllm:prompt_tokens_total{engine="0",model_name="m"} 1.5e+06
"""
SGLANG = (
    b'sglang:generation_tokens_total{model_name="m"} 42.0\nsglang:prompt_tokens_total{model_name="m"} 7.0\n'
)
LLAMACPP = b"llamacpp:prompt_tokens_total 11\nllamacpp:tokens_predicted_total 5\n"


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        (VLLM, (2234, 1_500_000)),
        (SGLANG, (42, 7)),
        (LLAMACPP, (5, 11)),
        (b"python_info 1.0\n", None),
        (b"", None),
    ],
)
def test_tokens_by_whichever_names_are_there(text: bytes, tokens: tuple[int, int] | None) -> None:
    assert tokens_told(text) == tokens


@pytest.mark.parametrize(
    ("command", "url"),
    [
        ("vllm serve m", "http://127.0.0.1:8000/metrics"),
        ("/venv/bin/vllm serve m --port 9000 --host 0.0.0.0", "http://127.0.0.1:9000/metrics"),
        ("python -m vllm.entrypoints.openai.api_server --port=9001", "http://127.0.0.1:9001/metrics"),
        ("vllm run-batch -i a -o b", ""),
        ("numactl -N 0 llama-server -m f --host 10.0.0.7", "http://10.0.0.7:8080/metrics"),
        ("llama-server -m f --host /run/llama.sock", ""),
        ("llama-server -m f --host ::1 --port 81", "http://[::1]:81/metrics"),
        ("llama-cli -m f", ""),
        ("python -m sglang.launch_server --model m", "http://127.0.0.1:30000/metrics"),
        ("python batch.py", ""),
        ("vllm serve m --port", "http://127.0.0.1:8000/metrics"),
        ("vllm serve --config off.yaml", ""),
        ("vllm serve --config off.yaml --port 81", "http://127.0.0.1:81/metrics"),
        ("vllm serve m --uds /run/v.sock", ""),
    ],
)
def test_where_a_command_tells_its_metrics(command: str, url: str) -> None:
    argv = command.split()
    assert metrics_url(guess(argv).preset, argv) == url
