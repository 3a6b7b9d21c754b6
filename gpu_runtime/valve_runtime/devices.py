"""The devices of this machine: GPUs as NVML lists them, or the CPU where there is none."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pynvml

from . import mps
from .device_id import CPU, device_bytes
from .errors import DeviceError

NO_MIG = (
    "MIG slices of a GPU cannot be stopped one by one; name a whole GPU, or end MIG with "
    "`nvidia-smi -i {} -mig 0`"
)


@dataclass(frozen=True, slots=True)
class Gpu:
    index: int
    uuid: str  # GPU-xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx
    name: str
    mig: bool = False
    exclusive: bool = False  # compute mode: one process at a time, or none
    utilisation_percent: int | None = None
    processes: int = 0  # that compute on it now


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
    utilisation = _ask(pynvml.nvmlDeviceGetUtilizationRates, handle)
    return Gpu(
        index,
        uuid=str(pynvml.nvmlDeviceGetUUID(handle)),
        name=str(pynvml.nvmlDeviceGetName(handle)),
        mig=(_ask(pynvml.nvmlDeviceGetMigMode, handle) or (0,))[0] == pynvml.NVML_DEVICE_MIG_ENABLE,
        exclusive=_ask(pynvml.nvmlDeviceGetComputeMode, handle)
        not in (None, pynvml.NVML_COMPUTEMODE_DEFAULT),
        utilisation_percent=None if utilisation is None else int(utilisation.gpu),
        processes=len(_ask(pynvml.nvmlDeviceGetComputeRunningProcesses, handle) or ()),
    )


def _ask(question: Callable[[Any], Any], handle: Any) -> Any:
    """None for what this GPU, or this driver, does not know."""
    try:
        return question(handle)
    except pynvml.NVMLError:
        return None


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
    chosen = known if visible is None else _visible(visible, known)
    return tuple(_whole(gpu) for gpu in chosen) or (CPU,)


def _visible(text: str, known: list[Gpu]) -> list[Gpu]:
    """As CUDA reads it: the first name that is not a GPU ends the list. Raises DeviceError for MIG slices."""
    chosen: list[Gpu] = []
    for name in map(str.strip, text.split(",")):
        matches = _matches(name, known)
        if len(matches) != 1 or matches[0] in chosen:
            break
        chosen += matches
    return chosen


def _matches(name: str, known: list[Gpu]) -> list[Gpu]:
    if name.startswith("MIG-"):
        raise DeviceError(f"{name}: {NO_MIG.format('GPU')}")
    exact = [gpu for gpu in known if name in (str(gpu.index), gpu.uuid)]
    return exact or [gpu for gpu in known if len(name) > 4 and gpu.uuid.startswith(name)]


def _resolve_one(name: str, known: list[Gpu]) -> str:
    if name.lower() == CPU:
        return CPU
    matches = _matches(name, known)
    if len(matches) == 1:
        return _whole(matches[0])
    have = ", ".join(f"{gpu.index} ({gpu.uuid})" for gpu in known) or "no GPU (NVML finds no driver)"
    raise DeviceError(f"no such device: {name!r}; this machine has cpu and {have}")


def _whole(gpu: Gpu) -> str:
    if gpu.mig:
        raise DeviceError(f"GPU {gpu.index} is in MIG mode: {NO_MIG.format(gpu.index)}")
    device_bytes(gpu.uuid)  # refuses what the segment cannot name
    return gpu.uuid


def refuse_mps(devices: Sequence[str], server: int | None = None) -> None:
    """Raises DeviceError if one of the devices is a GPU and the Multi-Process Service runs here."""
    if all(device == CPU for device in devices):
        return
    pid = server if server is not None else mps.find_server()
    if pid is not None:
        raise DeviceError(mps.REASON.format(pid=pid))
