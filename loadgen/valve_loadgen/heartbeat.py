"""Owns the witness's file: starts the heartbeat threads in a tenant and reads what they logged from outside.

The layout is that of native/heartbeat/heartbeat.c.
"""

import bisect
import ctypes
import mmap
import os
import struct
from dataclasses import dataclass
from pathlib import Path

from valve_loadgen.errors import BenchError

LIBRARY = Path(__file__).with_name("libvalve_heartbeat.so")
GAP_NS = 20_000
MAGIC = 0x31425248564C56
# Native sizes: struct then copies each number whole, so that one that is being written is never seen torn.
HEADER = struct.Struct("@QIIQ40x")
THREAD = struct.Struct("@QQQ40x")
GAP = struct.Struct("@QQ")


def start_heartbeat(path: Path, threads: int, gap_ns: int = GAP_NS) -> None:
    """Starts `threads` beating threads in this process, logging to `path` until it ends.

    Raises BenchError when the library is not built or the file cannot be made.
    """
    if not LIBRARY.is_file():
        raise BenchError(f"{LIBRARY} is missing; run `make native`")
    start = ctypes.CDLL(str(LIBRARY)).vlv_heartbeat_start
    start.argtypes = (ctypes.c_char_p, ctypes.c_uint32, ctypes.c_uint64)
    error: int = start(os.fsencode(path), threads, gap_ns)
    if error:
        raise BenchError(f"cannot start the heartbeat in {path}: {os.strerror(-error)}")


@dataclass(frozen=True)
class Beats:
    """What one thread logged: gaps by start, each (start_ns, end_ns), and its latest reading."""

    tid: int
    beat_ns: int
    gaps: list[tuple[int, int]]
    lost: int
    """Gaps that the ring has overwritten."""

    def silent(self, start_ns: int, end_ns: int) -> bool:
        """Whether one logged gap covers the whole of [start_ns, end_ns): no progress in there."""
        index = bisect.bisect_right(self.gaps, (start_ns, 1 << 63)) - 1
        return index >= 0 and self.gaps[index][1] >= end_ns


def read_heartbeat(path: Path) -> list[Beats]:
    """The threads' logs at this moment. Raises BenchError for a file that is not one."""
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as view:
            return _read_threads(view)
    except (OSError, ValueError, struct.error) as error:
        raise BenchError(f"{path} is not a heartbeat file: {error}") from error


def _read_threads(view: mmap.mmap) -> list[Beats]:
    magic, count, ring, _gap_ns = HEADER.unpack_from(view, 0)
    stride = THREAD.size + ring * GAP.size
    if magic != MAGIC or HEADER.size + count * stride > len(view):
        raise ValueError("wrong magic or size")
    return [_read_thread(view, HEADER.size + i * stride, ring) for i in range(count)]


def _read_thread(view: mmap.mmap, offset: int, ring: int) -> Beats:
    beat_ns, logged, tid = THREAD.unpack_from(view, offset)
    kept = min(logged, ring)
    base = offset + THREAD.size
    gaps = [GAP.unpack_from(view, base + (i % ring) * GAP.size) for i in range(logged - kept, logged)]
    return Beats(tid, beat_ns, gaps, logged - kept)
