"""What the engines' answers tell of their load, and what is said where they are not installed."""

from pathlib import Path

import pytest

from valve_loadgen.engines import ENGINES
from valve_loadgen.errors import BenchError

VLLM = b"""# HELP vllm:num_requests_running Number of requests in model execution batches.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="default"} %s
vllm:num_requests_waiting{engine="0",model_name="default"} %s
vllm:num_requests_waiting_by_reason{engine="0",model_name="default",reason="capacity"} 7.0
"""
LLAMACPP = b"llamacpp:requests_processing %s\nllamacpp:requests_deferred %s\nllamacpp:n_decode_total 9\n"
SGLANG = b'{"version":"0.5.23","loads":[{"dp_rank":0,"num_running_reqs":%s,"num_waiting_reqs":%s,"n":5}]}'


@pytest.mark.parametrize(
    ("name", "answer", "zero", "one"),
    [
        ("vllm", VLLM, b"0.0", b"1.0"),
        ("llamacpp", LLAMACPP, b"0", b"1"),
        ("sglang", SGLANG, b"0", b"1"),
        ("timed", b"timed:requests %s%s\n", b"0", b"1"),
    ],
)
def test_an_engine_computes_while_anything_runs_or_waits(
    name: str, answer: bytes, zero: bytes, one: bytes
) -> None:
    engine = ENGINES[name]
    assert not engine.computing(answer % (zero, zero))
    assert engine.computing(answer % (one, zero))
    assert engine.computing(answer % (zero, one))


def test_an_answer_without_figures_is_not_taken_for_an_idle_engine() -> None:
    with pytest.raises(BenchError, match="tells no load"):
        ENGINES["vllm"].computing(b"404 page not found")


@pytest.mark.parametrize("name", ["vllm", "sglang"])
def test_what_is_not_installed_is_named_with_the_mend(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VALVE_ENGINES", str(tmp_path))
    with pytest.raises(BenchError, match=f"not installed in {tmp_path}; run `make engines`"):
        ENGINES[name].start(8000, 1, "0")


@pytest.mark.parametrize("name", sorted(ENGINES))
def test_an_engine_is_started_on_its_cores_and_port(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".ready").touch()
    monkeypatch.setenv("VALVE_ENGINES", str(tmp_path))
    command = ENGINES[name].start(8123, 2, "0,1", ["--more"])
    assert command[:3] == ["taskset", "-c", "0,1"]
    assert command[command.index("--port") + 1] == "8123"
    assert command[-1] == "--more"
