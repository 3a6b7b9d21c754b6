"""What an engine is told when `valve run --kv-pool` starts it, so that its KV memory is the pool's; pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from .preset import KvPool, Prepared, Preset, takes_flags, value_of


class KvPoolError(Exception):
    """The command cannot run on a KV pool; names the thing and the mend."""


def on_pool(preset: Preset, prepared: Prepared, environment: Mapping[str, str], size: int) -> Prepared:
    """The command on a pool of `size` bytes; a program that we do not know may know what to do with one.

    Raises KvPoolError.
    """
    pool = preset.kv_pool
    if pool is None:
        if preset.programs:
            raise KvPoolError("--kv-pool is for engines that can lose KV memory: vLLM and SGLang")
        return prepared
    _refuse(pool, prepared.argv)
    words = [word.format(bytes=size) for flag in pool.flags for word in flag]
    flags = tuple(words) if takes_flags(preset, prepared.argv) else ()
    return replace(
        prepared,
        argv=[*prepared.argv, *flags],
        flags=(*prepared.flags, *flags),
        environment=prepared.environment
        | {name: value for name, value in pool.environment.items() if name not in environment},
    )


def left_to_the_program(preset: Preset, argv: Sequence[str], size: int) -> str:
    """What a program that takes no flags has to give the engine itself; empty if there is nothing."""
    if preset.kv_pool is None or takes_flags(preset, argv):
        return ""
    return preset.kv_pool.keywords.format(bytes=size)


def _refuse(pool: KvPool, argv: Sequence[str]) -> None:
    """Raises KvPoolError."""
    for flag, *values in pool.flags:
        if values and _given(argv, flag):
            raise KvPoolError(f"--kv-pool sets {flag} itself: leave it out")
    for flag in pool.refused:
        if _given(argv, flag) and value_of(argv, flag) != "1":
            raise KvPoolError(f"--kv-pool does not go together with {flag}: no KV block could be lost safely")


def _given(argv: Sequence[str], flag: str) -> bool:
    return any(word == flag or word.startswith(f"{flag}=") for word in argv)
