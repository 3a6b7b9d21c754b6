"""A device's name as text ("cpu", "GPU-...") and as the 16 bytes that the node segment keeps."""

from __future__ import annotations

from uuid import UUID

from .errors import DeviceError

CPU = "cpu"
_CPU_BYTES = CPU.encode().ljust(16, b"\0")
_GPU_PREFIX = "GPU-"


def device_bytes(text: str) -> bytes:
    """16 bytes. Raises DeviceError for anything but "cpu" and a GPU's UUID as nvidia-smi -L shows it."""
    if text == CPU:
        return _CPU_BYTES
    if text.startswith(_GPU_PREFIX):
        try:
            return UUID(text.removeprefix(_GPU_PREFIX)).bytes
        except ValueError:
            pass
    raise DeviceError(f'no such device: "{text}"; give cpu or a GPU\'s UUID (GPU-..., see `nvidia-smi -L`)')


def device_name(raw: bytes) -> str:
    """The text for 16 bytes."""
    return CPU if raw == _CPU_BYTES else f"{_GPU_PREFIX}{UUID(bytes=raw)}"
