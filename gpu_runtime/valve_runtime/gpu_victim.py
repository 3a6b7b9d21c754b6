"""A GPU program for the doctor's self-test: fills GPU memory until its standard input closes.

`python -m valve_runtime.gpu_victim`: prints "ready" once it computes, or one line that says why it cannot.
Uses the CUDA driver by itself, so that nothing needs to be installed.
"""

from __future__ import annotations

import ctypes
import select
import sys

FILL_BYTES = 64 << 20  # takes some 50 us on a large GPU
FILLS_IN_FLIGHT = 8


class CudaError(Exception):
    """A call of the CUDA driver failed."""


def main() -> int:
    try:
        fill = _prepare(ctypes.CDLL("libcuda.so.1"))
        fill()
    except (OSError, CudaError) as error:
        print(str(error).splitlines()[0], flush=True)
        return 1
    print("ready", flush=True)
    while not select.select([sys.stdin], [], [], 0)[0]:
        fill()
    return 0


class _Filler:
    def __init__(self, cuda: ctypes.CDLL) -> None:
        self._cuda = cuda
        self._stream, self._memory = ctypes.c_void_p(), ctypes.c_uint64()
        self._call("cuStreamCreate", ctypes.byref(self._stream), ctypes.c_uint(1))
        self._call("cuMemAlloc_v2", ctypes.byref(self._memory), ctypes.c_size_t(FILL_BYTES))

    def __call__(self) -> None:
        for value in range(FILLS_IN_FLIGHT):
            self._call(
                "cuMemsetD8Async",
                self._memory,
                ctypes.c_ubyte(value),
                ctypes.c_size_t(FILL_BYTES),
                self._stream,
            )
        self._call("cuStreamSynchronize", self._stream)

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
