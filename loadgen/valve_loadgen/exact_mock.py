"""Owns the exact mock as a child process, and the truth that it tells: when each token really left."""

import contextlib
import os
import signal
import struct
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from valve_loadgen.errors import BenchError
from valve_loadgen.target import Target

PROGRAM = Path(__file__).with_name("valve_exact_mock")
ID_BYTES = 64


@dataclass(frozen=True)
class Truth:
    """Of one request, in CLOCK_MONOTONIC ns: the kernel's stamp of its arrival; just before each send."""

    received_ns: int
    sent_ns: tuple[int, ...]

    @property
    def ttft_ns(self) -> int:
        return self.sent_ns[0] - self.received_ns


@dataclass
class ExactMock:
    """`truths` by request id, complete once the context is left."""

    target: Target
    truths: dict[str, Truth] = field(default_factory=dict)


@contextlib.contextmanager
def exact_mock(
    cpus: frozenset[int], ttft_ms: float = 20.0, gap_ms: float = 5.0, tokens: int = 16
) -> Iterator[ExactMock]:
    """Runs the mock on `cpus`, where it spins while requests are in flight. Raises BenchError."""
    if not PROGRAM.is_file():
        raise BenchError(f"{PROGRAM} is missing; run `make native`")
    with tempfile.NamedTemporaryFile(prefix="valve-truth-") as log:
        times = (str(round(ttft_ms * 1e3)), str(round(gap_ms * 1e3)), str(tokens))
        process = subprocess.Popen([str(PROGRAM), *times, log.name], stdout=subprocess.PIPE, text=True)
        try:
            os.sched_setaffinity(process.pid, cpus)
            assert process.stdout
            mock = ExactMock(Target(port=int(process.stdout.readline() or 0)))
            yield mock
        finally:
            process.send_signal(signal.SIGTERM)
            process.communicate()
        mock.truths.update(read_truths(Path(log.name).read_bytes(), tokens))


def read_truths(log: bytes, tokens: int) -> Iterator[tuple[str, Truth]]:
    """The records of native/mock/exact_mock.c."""
    for name, received_ns, *sent_ns in struct.iter_unpack(f"@{ID_BYTES}sQ{tokens}Q", log):
        yield name.rstrip(b"\0").decode(), Truth(received_ns, tuple(sent_ns))
