"""The devices of this machine: GPUs as NVML lists them, or the CPU where there is none."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pynvml

from .device_id import CPU, device_bytes
from .errors import DeviceError


@dataclass(frozen=True, slots=True)
class Gpu:
    index: int
    uuid: str  # GPU-xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx
    name: str


def gpus() -> list[Gpu]:
    """Every GPU that NVML sees; none if there is no driver, or it does not answer."""
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return []
    try:
        return [_gpu(index) for index in range(pynvml.nvmlDeviceGetCount())]
    except pynvml.NVMLError:
        return []
    finally:
        pynvml.nvmlShutdown()


def _gpu(index: int) -> Gpu:
    handle = pynvml.nvmlDeviceGetHandleByIndex(index)
    uuid, name = pynvml.nvmlDeviceGetUUID(handle), pynvml.nvmlDeviceGetName(handle)
    return Gpu(index, str(uuid), str(name))


def resolve(
    names: Sequence[str], found: Sequence[Gpu] | None = None, environment: Mapping[str, str] | None = None
) -> tuple[str, ...]:
    """Device names for the segment: "cpu" or GPU UUIDs. No name: every visible GPU, or the CPU.

    A name is "cpu", a GPU's index, its UUID or the beginning of one. Raises DeviceError.
    """
    known = gpus() if found is None else list(found)
    if not names:
        return _default(known, os.environ if environment is None else environment)
    return tuple(dict.fromkeys(_resolve_one(name, known) for name in names))


def _default(known: list[Gpu], environment: Mapping[str, str]) -> tuple[str, ...]:
    visible = environment.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return tuple(gpu.uuid for gpu in known) or (CPU,)
    return tuple(_visible(visible, known)) or (CPU,)


def _visible(text: str, known: list[Gpu]) -> list[str]:
    """As CUDA reads it: the first name that is not a GPU ends the list."""
    chosen: list[str] = []
    for name in text.split(","):
        try:
            chosen.append(_resolve_one(name.strip(), known))
        except DeviceError:
            break
    return [name for name in chosen if name != CPU]


def _resolve_one(name: str, known: list[Gpu]) -> str:
    if name.lower() == CPU:
        return CPU
    matches = [gpu for gpu in known if name in (str(gpu.index), gpu.uuid)]
    matches = matches or [gpu for gpu in known if len(name) > 4 and gpu.uuid.startswith(name)]
    if len(matches) == 1:
        device_bytes(matches[0].uuid)  # refuses what the segment cannot name, such as a MIG slice
        return matches[0].uuid
    have = ", ".join(f"{gpu.index} ({gpu.uuid})" for gpu in known) or "no GPU (NVML finds no driver)"
    raise DeviceError(f"no such device: {name!r}; this machine has cpu and {have}")
