"""Starts the process that takes over: what is installed now, with our arguments and our sockets."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Sequence
from socket import socket

from .errors import SidecarError
from .handed import VARIABLE, encode

PATIENCE_S = 60.0  # until it serves
OURS = ("WATCHDOG_PID",)  # what is in our environment and meant for us alone


async def start_successor(listen: Sequence[socket], admin: Sequence[socket]) -> int:
    """Returns its pid once it serves. Raises SidecarError if it does not; then we are as we were."""
    if os.getpid() == 1:
        raise SidecarError("process 1 has no successor: the container ends with it; replace the container")
    read_fd, ready_fd = os.pipe()
    try:
        process = _spawn(listen, admin, ready_fd)
    except OSError as error:
        os.close(read_fd)
        raise SidecarError(f"cannot start {command()[0]}: {error.strerror}") from error
    finally:
        os.close(ready_fd)
    if await _reads_a_byte(read_fd):
        process.returncode = 0  # it outlives us: nobody is to wait for it
        return process.pid
    process.kill()
    process.wait()
    raise SidecarError("the new process did not come to serve; its message is above")


def command() -> list[str]:
    """The console script by its path, which may lead to another version than ours by now."""
    program = sys.argv[0]
    if os.access(program, os.X_OK):
        return [program, *sys.argv[1:]]
    return sys.orig_argv


def _spawn(listen: Sequence[socket], admin: Sequence[socket], ready_fd: int) -> subprocess.Popen[bytes]:
    """Raises OSError."""
    descriptors = {
        "listen": [sock.fileno() for sock in listen],
        "admin": [sock.fileno() for sock in admin],
        "ready": [ready_fd],
    }
    environment = {key: value for key, value in os.environ.items() if key not in OURS}
    environment[VARIABLE] = encode(descriptors)
    passed = [fd for fds in descriptors.values() for fd in fds]
    return subprocess.Popen(command(), env=environment, pass_fds=passed)


async def _reads_a_byte(fd: int) -> bool:
    """False: the other end was closed without, or nothing came for long. Closes the descriptor."""
    reader = asyncio.StreamReader()
    pipe = os.fdopen(fd, "rb", buffering=0)
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), pipe
    )
    try:
        return bool(await asyncio.wait_for(reader.read(1), PATIENCE_S))
    except TimeoutError:
        return False
    finally:
        transport.close()
