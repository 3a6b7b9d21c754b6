"""A plug-in for SGLang: its KV memory is the file that VALVE_POOL_MEMORY names, for the test to overwrite it.
`entry_points` makes SGLang find it.
"""

from pathlib import Path
from typing import Any

ENTRY = "[sglang.srt.plugins]\nkv_in_file = sglang_plugin:install\n"
TARGET = "sglang.srt.mem_cache.memory_pool.MHATokenToKVPool._create_buffers"


def install() -> None:
    from sglang.srt.plugins.hook_registry import HookRegistry, HookType

    HookRegistry.register(TARGET, in_file, HookType.AROUND)


def in_file(create: Any, *arguments: Any, **keywords: Any) -> Any:
    from valve_adapters.blocks.memory import pool_memory

    with pool_memory():
        return create(*arguments, **keywords)


def entry_points(folder: Path) -> None:
    """Writes to `folder`, which is to be on the path of SGLang's Python, what an installation would."""
    described = folder / "kv_in_file-1.dist-info"
    described.mkdir()
    (described / "METADATA").write_text("Metadata-Version: 2.1\nName: kv_in_file\nVersion: 1\n")
    (described / "entry_points.txt").write_text(ENTRY)
