"""Run by the engines' Python: vLLM's API server with what vLLM has on a GPU and turns off on the CPU: async
scheduling, and KV memory with the blocks outermost. `vllm_variant.py OPTIONS...`, the server's.

The processes that it spawns run this file, too, up to its last lines.
"""

import runpy
from typing import Any

from vllm.platforms.cpu import CpuPlatform
from vllm.v1.attention.backends.cpu_attn import CPUAttentionBackend
from vllm.v1.kv_cache_layout import KVCacheLayout

checked = CpuPlatform.check_and_update_config.__func__


def check(cls: type[CpuPlatform], config: Any) -> None:
    checked(cls, config)
    config.scheduler_config.async_scheduling = True


CpuPlatform.check_and_update_config = classmethod(check)
CPUAttentionBackend.supported_kv_cache_layouts = classmethod(lambda _cls: (KVCacheLayout.BLHNC,))

if __name__ == "__main__":
    runpy.run_module("vllm.entrypoints.openai.api_server", run_name="__main__")
