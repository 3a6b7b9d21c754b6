"""What a serving process is handed when it starts: listening sockets, by systemd or by the process before it.

systemd's way is sd_listen_fds(3): descriptors from 3 on, LISTEN_FDS and LISTEN_PID. A predecessor's way is
one variable that names each descriptor, VALVE_HANDED="listen=7,8;admin=9;ready=11": it cannot know our pid,
and need not renumber its descriptors. Whoever is handed `ready` writes a byte to it when it serves.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass, field

from .errors import ListenError

FIRST_FD = 3
VARIABLE = "VALVE_HANDED"
SYSTEMDS = ("LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES")


@dataclass(frozen=True, slots=True)
class Handed:
    """`ready_fd`: None where no predecessor waits."""

    listen: list[socket.socket] = field(default_factory=list)
    admin: list[socket.socket] = field(default_factory=list)
    ready_fd: int | None = None

    def tell_ready(self) -> None:
        """Once."""
        if self.ready_fd is not None:
            os.write(self.ready_fd, b"1")
            os.close(self.ready_fd)


def take_handed(environment: MutableMapping[str, str]) -> Handed:
    """Takes the variables away, so that no child takes them for its own. Raises ListenError for what is not a
    listening socket.
    """
    descriptors = read_handed(environment, os.getpid())
    for name in (VARIABLE, *SYSTEMDS):
        environment.pop(name, None)
    for fd in (fd for fds in descriptors.values() for fd in fds):
        os.set_inheritable(fd, False)
    ready = descriptors.get("ready", [])
    return Handed(
        [adopt(fd) for fd in descriptors.get("listen", [])],
        [adopt(fd) for fd in descriptors.get("admin", [])],
        ready[0] if ready else None,
    )


def read_handed(environment: Mapping[str, str], pid: int) -> dict[str, list[int]]:
    """Descriptors by what they are for. systemd's are for clients, unless they are named "admin"."""
    if VARIABLE in environment:
        return decode(environment[VARIABLE])
    if environment.get("LISTEN_PID") != str(pid):
        return {}
    count = int(environment.get("LISTEN_FDS", "0"))
    names = environment.get("LISTEN_FDNAMES", "").split(":")
    descriptors: dict[str, list[int]] = {}
    for i in range(count):
        purpose = "admin" if i < len(names) and names[i] == "admin" else "listen"
        descriptors.setdefault(purpose, []).append(FIRST_FD + i)
    return descriptors


def encode(descriptors: Mapping[str, list[int]]) -> str:
    return ";".join(f"{name}={','.join(map(str, fds))}" for name, fds in descriptors.items() if fds)


def decode(text: str) -> dict[str, list[int]]:
    pairs = (part.partition("=") for part in text.split(";"))
    return {name: [int(fd) for fd in fds.split(",")] for name, _, fds in pairs}


def adopt(fd: int) -> socket.socket:
    """Raises ListenError."""
    try:
        sock = socket.socket(fileno=fd)
        listens = sock.type == socket.SOCK_STREAM and sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    except OSError as error:
        raise ListenError(f"descriptor {fd}, handed over to us, is no socket: {error.strerror}") from error
    if not listens:
        sock.close()
        raise ListenError(f"descriptor {fd}, handed over to us, does not listen; use ListenStream=")
    return sock
