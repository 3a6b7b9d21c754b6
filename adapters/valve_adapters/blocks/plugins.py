"""The entry points by which engines load Valve's plug-ins in each of their processes; they do nothing where
there is no pool.
"""

from __future__ import annotations

from .table import is_leased


def vllm() -> None:
    """`vllm.general_plugins`."""
    if is_leased():
        from .vllm import install

        install()


def sglang() -> None:
    """`sglang.srt.plugins`."""
    if is_leased():
        from .sglang import install

        install()
