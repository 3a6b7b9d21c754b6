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
