"""Takes things away from processes for a while: descriptors, memory, processor time, room, bytes of files."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import mmap
import os
import random
import resource
import socket
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from valve_runtime.errors import ValveRuntimeError
from valve_runtime.node import Holder, Node, Side, Tenant

A_TWENTIETH = {"cpu.cfs_period_us": "100000", "cpu.cfs_quota_us": "5000"}
LEFT_BYTES = 4096


@contextmanager
def lowered(pids: Iterable[int], limit: int, used: Callable[[int], int]) -> Iterator[None]:
    """Each may have as much of it as it uses now."""
    before: dict[int, tuple[int, int]] = {}
    for pid in pids:
        with contextlib.suppress(OSError):
            before[pid] = resource.prlimit(pid, limit)
            resource.prlimit(pid, limit, (used(pid), before[pid][1]))
    yield
    for pid, limits in before.items():
        with contextlib.suppress(ProcessLookupError):
            resource.prlimit(pid, limit, limits)


@contextmanager
def in_group(controller: str, pids: Iterable[int], settings: Mapping[str, str]) -> Iterator[None]:
    """In a cgroup (v1) of their own with these settings; nothing happens where there is no controller."""
    root = Path("/sys/fs/cgroup", controller)
    if not os.access(root / "cgroup.procs", os.W_OK):
        yield
        return
    group = Path(tempfile.mkdtemp(prefix="chaos-", dir=root))
    for name, value in settings.items():
        (group / name).write_text(value)
    _move(pids, group)
    try:
        yield
    finally:
        _empty(group, root)


def _move(pids: Iterable[int], group: Path) -> None:
    for pid in pids:
        with contextlib.suppress(OSError):
            (group / "cgroup.procs").write_text(str(pid))


def _empty(group: Path, root: Path) -> None:
    """With what was born in it meanwhile."""
    while True:
        _move(map(int, (group / "cgroup.procs").read_text().split()), root)
        try:
            return group.rmdir()
        except OSError as error:
            if error.errno != errno.EBUSY:
                raise


@contextmanager
def full(directory: Path) -> Iterator[None]:
    """Not a page is left on its file system, which must be a small one of its own."""
    filler = directory / "filler"
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(LEFT_BYTES))
    try:
        yield
    finally:
        filler.unlink()


def fill_pipe(path: Path) -> None:
    """Whoever writes to it next has to wait."""
    with contextlib.suppress(OSError):
        fd = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
        try:
            for size in (65536, 4096, 1):
                with contextlib.suppress(BlockingIOError):
                    while True:
                        os.write(fd, b"\n" * size)
        finally:
            os.close(fd)


def ask_without_reading(address: tuple[str, int], path: str) -> socket.socket:
    asker = socket.socket()
    asker.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
    asker.settimeout(1)
    with contextlib.suppress(OSError):
        asker.connect(address)
        asker.sendall(f"GET /{path} HTTP/1.1\r\nHost: chaos\r\n\r\n".encode())
    return asker


@contextmanager
def mapped(path: Path) -> Iterator[mmap.mmap]:
    with path.open("r+b") as file, mmap.mmap(file.fileno(), 0) as memory:
        yield memory


@contextmanager
def scribbled(path: Path, places: range, salt: int) -> Iterator[None]:
    """These bytes are noise meanwhile, and what they were afterwards."""
    with mapped(path) as memory:
        before = memory[places.start : places.stop]
        memory[places.start : places.stop] = noise(len(places), salt)
        yield
        memory[places.start : places.stop] = before


def noise(length: int, salt: int) -> bytes:
    return random.Random(salt).randbytes(length)


@contextmanager
def registered(directory: Path) -> Iterator[None]:
    """Every row that was free belongs to us."""
    with contextlib.ExitStack() as nodes:
        with contextlib.suppress(ValveRuntimeError):  # until the table is full; or it is damaged
            node = nodes.enter_context(Node.open(directory, Side.HOLDER))
            while True:
                Holder.register(node, "chaos", ("cpu",))
        with contextlib.suppress(ValveRuntimeError):
            node = nodes.enter_context(Node.open(directory, Side.TENANT))
            while True:
                Tenant.register(node, "chaos", 0, ("cpu",))
        yield


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    """The directory, and each byte of its two files on which nobody has a lock."""
    with contextlib.ExitStack() as opened:
        folder = os.open(directory, os.O_RDONLY)
        opened.callback(os.close, folder)
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        for name in ("holders", "tenants"):
            file = opened.enter_context((directory / name).open("r+b"))
            _lock_what_is_free(file.fileno(), os.fstat(file.fileno()).st_size)
        yield


def _lock_what_is_free(fd: int, size: int) -> None:
    for at in range(0, size, 64):  # rows begin at multiples of it
        with contextlib.suppress(OSError):
            fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, at)
