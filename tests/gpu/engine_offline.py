"""The offline engine of part (f): generates batch after batch and keeps the count of tokens in a file.

python engine_offline.py MODEL COUNTER_FILE TOKENS
"""

import mmap
import struct
import sys
from pathlib import Path

from engine_models import MODELS

COUNT = struct.Struct("=q")


def read_count(path: Path) -> int:
    """-1 until the model is loaded."""
    return int(COUNT.unpack(path.read_bytes())[0])


def write_new(path: Path) -> None:
    path.write_bytes(COUNT.pack(-1))


def main(model_name: str, counter: str, tokens: str) -> None:
    model = MODELS[model_name]()
    model.batch(2)
    with Path(counter).open("r+b") as file, mmap.mmap(file.fileno(), COUNT.size) as memory:
        total = 0
        while True:
            COUNT.pack_into(memory, 0, total)
            total += model.batch(int(tokens))


if __name__ == "__main__":
    main(*sys.argv[1:])
