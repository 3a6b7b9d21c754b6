"""Opens the listening socket: TCP (several workers may share it) or unix."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from .address import Address
from .errors import ListenError

BACKLOG = 1024


class Listener:
    """`bind` or `open`, then `bound` is the real address; `close` takes a unix socket's path away again."""

    def __init__(self, address: Address, *, reuse_port: bool) -> None:
        self.bound = self._address = address
        self._reuse_port = reuse_port
        self._servers: list[asyncio.AbstractServer] = []
        self._inode = 0

    def bind(self) -> list[socket.socket]:
        """Sockets that listen and do not block: several where a host's name has several addresses.

        Raises ListenError.
        """
        try:
            return [self._bind_unix()] if self._address.path is not None else self._bind_tcp()
        except OSError as error:
            raise ListenError(
                f"cannot listen on {self._address} ({error.strerror or error}); "
                "choose another --listen, or stop what is using it"
            ) from error

    async def open(self, factory: Callable[[], asyncio.Protocol]) -> None:
        """Raises ListenError."""
        loop = asyncio.get_running_loop()
        create = loop.create_server if self._address.path is None else loop.create_unix_server
        for sock in self.bind():
            self._servers.append(await create(factory, sock=sock, backlog=BACKLOG))

    def close(self) -> None:
        """Stops accepting; connections live on."""
        for server in self._servers:
            server.close()
        self._servers.clear()
        if self._inode and self._address.path_object.exists():
            self._unlink_own()
        self._inode = 0

    def _unlink_own(self) -> None:
        """Not a socket that someone else has put there since."""
        path = self._address.path_object
        if path.stat().st_ino == self._inode:
            path.unlink()

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
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # what is accepted inherits these two
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
            sock.setblocking(False)
            sock.bind(str(path))
            self._inode = path.stat().st_ino
            sock.listen(BACKLOG)
        except OSError:
            sock.close()
            raise
        return sock


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
