"""What a KV pool adds to a command, and with what it cannot go together."""

import pytest

from valve_adapters.kv_pool import KvPoolError, left_to_the_program, on_pool
from valve_adapters.preset import Prepared, Preset, prepare
from valve_adapters.registry import ADAPTERS

VLLM, SGLANG, TRTLLM = (ADAPTERS[name].preset for name in ("vllm", "sglang", "tensorrt-llm"))
SIZE = 8 << 30


def pooled(preset: Preset, command: str, **environment: str) -> Prepared:
    return on_pool(preset, prepare(preset, command.split(), environment), environment, SIZE)


@pytest.mark.parametrize(
    "command",
    ["vllm serve m", "numactl vllm run-batch -i a", "python -m vllm.entrypoints.openai.api_server --model m"],
)
def test_vllm_gets_scheduler_size_and_layout(command: str) -> None:
    prepared = pooled(VLLM, command)
    assert prepared.argv == [
        *command.split(),
        "--scheduler-cls",
        "valve_adapters.blocks.vllm.LeasedScheduler",
        "--kv-cache-memory-bytes",
        str(SIZE),
    ]
    assert prepared.environment["VLLM_KV_CACHE_LAYOUT"] == "BLHNC"
    assert "--kv-cache-memory-bytes 8589934592" in prepared.told
    assert left_to_the_program(VLLM, command.split(), SIZE) == ""


def test_the_users_layout_stays() -> None:
    assert (
        "VLLM_KV_CACHE_LAYOUT" not in pooled(VLLM, "vllm serve m", VLLM_KV_CACHE_LAYOUT="BLNHC").environment
    )


def test_a_program_that_takes_no_flags_is_told_what_to_set() -> None:
    assert pooled(VLLM, "python batch.py").argv == ["python", "batch.py"]
    assert "kv_cache_memory_bytes=8589934592" in left_to_the_program(VLLM, ["python", "batch.py"], SIZE)


@pytest.mark.parametrize("flag", ["--scheduler-cls mine", "--kv-cache-memory-bytes=5"])
def test_what_the_pool_sets_is_not_the_users_to_set(flag: str) -> None:
    with pytest.raises(KvPoolError, match=flag.split()[0].split("=")[0]):
        pooled(VLLM, f"vllm serve m {flag}")


@pytest.mark.parametrize(
    "flag", ["--tensor-parallel-size 2", "-tp=4", "--kv-transfer-config {}", "--speculative-config={}"]
)
def test_what_a_block_cannot_be_lost_with_is_refused(flag: str) -> None:
    with pytest.raises(KvPoolError, match="does not go together with"):
        pooled(VLLM, f"vllm serve m {flag}")


def test_one_is_as_good_as_not_set() -> None:
    assert pooled(VLLM, "vllm serve m --tensor-parallel-size 1 -dp=1").flags


def test_an_engine_that_keeps_its_memory_is_refused() -> None:
    with pytest.raises(KvPoolError, match="vLLM and SGLang"):
        pooled(TRTLLM, "trtllm-serve m")


def test_sglang_gets_what_its_plugin_needs() -> None:
    prepared = pooled(SGLANG, "python -m sglang.launch_server --model-path m --disable-radix-cache")
    assert {"--disable-radix-cache", "--disable-overlap-schedule", "-1"} <= set(prepared.flags)
    assert prepared.environment["SGLANG_ENABLE_STRICT_MEM_CHECK_DURING_IDLE"] == "0"
    with pytest.raises(KvPoolError, match="--chunked-prefill-size itself"):
        pooled(SGLANG, "sglang serve --chunked-prefill-size 4096")


def test_a_program_that_is_not_known_may_have_a_plugin_of_its_own() -> None:
    assert pooled(Preset(), "python mine.py").argv == ["python", "mine.py"]
