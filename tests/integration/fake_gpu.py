"""The fake GPU for jobs under `valve run`: where its libraries are, and what its programs write."""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get("VALVE_BUILD", ROOT / "build" / "native"))
GPU = "GPU-fa000000-0000-0000-0000-000000000000"


def find(name: str) -> Path:
    """In the CMake build that `make native` leaves."""
    return next(iter(BUILD.rglob(name)))


def environment() -> dict[str, str]:
    """With which a process has the fake driver instead of one of NVIDIA's."""
    return {
        "LD_PRELOAD": str(find("libfake_rm.so")),
        "LD_LIBRARY_PATH": str(find("libcuda.so.1").parent),
        "VALVE_TEST_DEVICES": GPU,
    }


@dataclass(frozen=True, slots=True)
class Board:
    """native/tests/programs/board.h: what a program on the fake GPU shares with its test."""

    path: Path

    def beat(self) -> int:
        """Moved by kernels and copies, and by nothing else."""
        return int(struct.unpack_from("<Q", self._read())[0])

    def is_ready(self) -> bool:
        return bool(struct.unpack_from("<I", self._read(), 8)[0])

    def is_done(self) -> bool:
        return bool(struct.unpack_from("<I", self._read(), 12)[0])

    def result(self) -> int:
        return int(struct.unpack_from("<Q", self._read(), 16)[0])

    def tell_to_go(self) -> None:
        with self.path.open("r+b") as file:
            file.seek(24)
            file.write(struct.pack("<I", 1))

    def _read(self) -> bytes:
        """Empty for a moment, when the program has made it."""
        return (self.path.read_bytes() if self.path.exists() else b"").ljust(64, b"\0")


def victim(board: Board, kind: str = "persistent", rounds: int = 0) -> tuple[str, ...]:
    """The command of native/tests/programs/victim.c."""
    return (str(find("victim_linked")), str(board.path), kind, str(rounds))
