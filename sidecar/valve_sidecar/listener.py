"""Listening sockets: opened here, TCP or unix, or handed over by systemd or by the process before us."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from .address import Address
from .errors import ListenError

BACKLOG = 1024


class Listener:
    """`bind` or `open`, then `bound` is the real address; then `close`, or `leave`.

    `given`: sockets that listen already; they are ours from here on, and `address` does not count. `option`:
    what a person would change, for messages.
    """

    def __init__(
        self,
        address: Address,
        *,
        reuse_port: bool = False,
        given: Sequence[socket.socket] = (),
        option: str = "--listen",
    ) -> None:
        self._address, self._reuse_port, self._option = address, reuse_port, option
        self.sockets = list(given)
        self.bound = address_of(self.sockets[0]) if self.sockets else address
        self._servers: list[asyncio.AbstractServer] = []
        self._inode = 0
        for sock in self.sockets:
            prepare(sock)

    def bind(self) -> list[socket.socket]:
        """Duplicates for the caller, that listen and do not block: several where a host's name has several
        addresses. Raises ListenError.
        """
        self.listen()
        return [sock.dup() for sock in self.sockets]

    def listen(self) -> None:
        """Opens the sockets, if they are not. Raises ListenError."""
        if not self.sockets:
            self.sockets = self._open()

    async def open(self, factory: Callable[[], asyncio.Protocol]) -> None:
        """Raises ListenError."""
        loop = asyncio.get_running_loop()
        for sock in self.bind():
            create = loop.create_unix_server if sock.family == socket.AF_UNIX else loop.create_server
            self._servers.append(await create(factory, sock=sock, backlog=BACKLOG))

    def close(self) -> None:
        """Stops accepting and takes the path of a unix socket of ours away; connections live on."""
        self._stop()
        if self._inode and self._address.path_object.exists():
            self._unlink_own()
        self._inode = 0

    def leave(self) -> None:
        """Stops accepting, because somebody else has the sockets now."""
        self._inode = 0
        self._stop()

    def _stop(self) -> None:
        for server in self._servers:
            server.close()
        for sock in self.sockets:
            sock.close()
        self._servers.clear()
        self.sockets.clear()

    def _unlink_own(self) -> None:
        """Not a socket that someone else has put there since."""
        path = self._address.path_object
        if path.stat().st_ino == self._inode:
            path.unlink()

    def _open(self) -> list[socket.socket]:
        try:
            return [self._bind_unix()] if self._address.path is not None else self._bind_tcp()
        except OSError as error:
            raise ListenError(
                f"cannot listen on {self._address} ({error.strerror or error}); "
                f"choose another {self._option}, or stop what is using it"
            ) from error

    def _bind_tcp(self) -> list[socket.socket]:
        host, port = self._address.host, self._address.port
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        sockets: list[socket.socket] = []
        with ExitStack() as unwind:
            for family, _, _, _, address in dict.fromkeys(found):
                sockets.append(unwind.enter_context(socket.socket(family, socket.SOCK_STREAM)))
                self._listen_tcp(sockets[-1], address)
            unwind.pop_all()
        self.bound = Address(host=host, port=sockets[0].getsockname()[1])
        return sockets

    def _listen_tcp(self, sock: socket.socket, address: Any) -> None:
        prepare(sock)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if self._reuse_port:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if sock.family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(address)
        sock.listen(BACKLOG)

    def _bind_unix(self) -> socket.socket:
        path = self._address.path_object
        remove_stale(path)
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            prepare(sock)
            sock.bind(str(path))
            self._inode = path.stat().st_ino
            sock.listen(BACKLOG)
        except OSError:
            sock.close()
            raise
        return sock


def share(address: Address, count: int, given: Sequence[socket.socket] = ()) -> list[Listener]:
    """For as many workers on one port: a listener each, their sockets open. What was handed over is dealt
    out; where that is too little, workers share. Raises ListenError.
    """
    if given:
        hands = [given[i::count] or [given[i % len(given)].dup()] for i in range(count)]
        return [Listener(address, given=hand) for hand in hands]
    refuse_taken(address)
    listeners: list[Listener] = []
    for _ in range(count):
        listeners.append(Listener(listeners[0].bound if listeners else address, reuse_port=True))
        listeners[-1].listen()
    return listeners


def refuse_taken(address: Address) -> None:
    """With SO_REUSEPORT a port that another sidecar shares among its workers would not be refused."""
    probe = Listener(address)
    probe.listen()
    probe.close()


def prepare(sock: socket.socket) -> None:
    """What is accepted inherits the options."""
    sock.setblocking(False)
    if sock.family != socket.AF_UNIX:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def address_of(sock: socket.socket) -> Address:
    name = sock.getsockname()
    return Address(path=name) if sock.family == socket.AF_UNIX else Address(host=name[0], port=name[1])


def remove_stale(path: Path) -> None:
    """Takes away a socket that nobody listens on, and only that; asyncio would take away a living one too."""
    if not path.is_socket():
        return
    probe = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    probe.setblocking(False)
    try:
        probe.connect(str(path))
    except ConnectionRefusedError:
        path.unlink()
    except OSError:
        pass  # not there, or not ours to judge: bind tells
    finally:
        probe.close()
