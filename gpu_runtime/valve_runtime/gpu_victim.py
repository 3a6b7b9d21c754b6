"""A GPU program for the doctor's self-test: fills GPU memory until its standard input closes.

`python -m valve_runtime.gpu_victim`: prints "ready" once it computes, or one line that says why it cannot;
then, for each line that it reads, whether the GPU is "still" or "moved" just now. Uses the CUDA driver by
itself, so that nothing needs to be installed.
"""

from __future__ import annotations

import ctypes
import os
import sys
import threading
import time

FILL_BYTES = 64 << 20  # takes some 50 us on a large GPU
FILLS_IN_FLIGHT = 8
LOOK_S = 0.005  # takes in many fills
HOST_MAPPED = 2  # CU_MEMHOSTALLOC_DEVICEMAP


class CudaError(Exception):
    """A call of the CUDA driver failed."""


def main() -> int:
    try:
        fill = _prepare(ctypes.CDLL("libcuda.so.1"))
        fill()
    except (OSError, CudaError) as error:
        _say(str(error).splitlines()[0])
        return 1
    _say("ready")
    watch = threading.Thread(target=_watch, args=(fill,), daemon=True)
    watch.start()
    while watch.is_alive():
        fill()
    return 0


def _watch(filler: _Filler) -> None:
    for _ in sys.stdin:
        before = filler.beat.value
        time.sleep(LOOK_S)
        _say("still" if filler.beat.value == before else "moved")


def _say(line: str) -> None:
    """As one write, whatever PYTHONUNBUFFERED says: nobody reads a part of it."""
    os.write(sys.stdout.fileno(), f"{line}\n".encode())


class _Filler:
    """`beat` lies in the host's memory; the GPU counts its fills there."""

    def __init__(self, cuda: ctypes.CDLL) -> None:
        self._cuda, self._fills = cuda, 0
        self._stream, self._memory = ctypes.c_void_p(), ctypes.c_uint64()
        self._call("cuStreamCreate", ctypes.byref(self._stream), ctypes.c_uint(1))
        self._call("cuMemAlloc_v2", ctypes.byref(self._memory), ctypes.c_size_t(FILL_BYTES))
        host, self._beat = ctypes.c_void_p(), ctypes.c_uint64()
        self._call("cuMemHostAlloc", ctypes.byref(host), ctypes.c_size_t(4096), ctypes.c_uint(HOST_MAPPED))
        self._call("cuMemHostGetDevicePointer_v2", ctypes.byref(self._beat), host, ctypes.c_uint(0))
        self.beat = ctypes.c_uint32.from_address(host.value or 0)

    def __call__(self) -> None:
        for _ in range(FILLS_IN_FLIGHT):
            self._fills += 1
            self._fill("cuMemsetD8Async", self._memory, ctypes.c_ubyte(self._fills % 256), FILL_BYTES)
            self._fill("cuMemsetD32Async", self._beat, ctypes.c_uint(self._fills), 1)
        self._call("cuStreamSynchronize", self._stream)

    def _fill(self, name: str, memory: ctypes.c_uint64, value: object, count: int) -> None:
        self._call(name, memory, value, ctypes.c_size_t(count), self._stream)

    def _call(self, name: str, *arguments: object) -> None:
        _check(name, getattr(self._cuda, name)(*arguments))


def _prepare(cuda: ctypes.CDLL) -> _Filler:
    context = ctypes.c_void_p()
    _check("cuInit", cuda.cuInit(ctypes.c_uint(0)))
    _check("cuDevicePrimaryCtxRetain", cuda.cuDevicePrimaryCtxRetain(ctypes.byref(context), ctypes.c_int(0)))
    _check("cuCtxSetCurrent", cuda.cuCtxSetCurrent(context))
    return _Filler(cuda)


def _check(name: str, result: int) -> None:
    if result != 0:
        raise CudaError(f"{name} failed with CUDA error {result}")


if __name__ == "__main__":
    sys.exit(main())
