"""Opens the listening socket: TCP (several workers may share it) or unix."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from pathlib import Path

from .address import Address
from .errors import ListenError

BACKLOG = 1024


class Listener:
    """`open`, then `bound` is the real address; `close` takes a unix socket's path away again."""

    def __init__(self, address: Address, *, reuse_port: bool) -> None:
        self.bound = self._address = address
        self._reuse_port = reuse_port
        self._server: asyncio.AbstractServer | None = None
        self._inode = 0

    async def open(self, factory: Callable[[], asyncio.Protocol]) -> None:
        """Raises ListenError."""
        try:
            if self._address.path is not None:
                self._server = await self._open_unix(factory)
            else:
                self._server = await self._open_tcp(factory)
        except OSError as error:
            raise ListenError(
                f"cannot listen on {self._address} ({error.strerror or error}); "
                "choose another --listen, or stop what is using it"
            ) from error

    def close(self) -> None:
        """Stops accepting; connections live on."""
        if self._server is None:
            return
        self._server.close()
        self._server = None
        if self._inode and self._address.path_object.exists():
            self._unlink_own()

    def _unlink_own(self) -> None:
        """Not a socket that someone else has put there since."""
        path = self._address.path_object
        if path.stat().st_ino == self._inode:
            path.unlink()

    async def _open_tcp(self, factory: Callable[[], asyncio.Protocol]) -> asyncio.AbstractServer:
        loop = asyncio.get_running_loop()
        host, port = self._address.host, self._address.port
        server = await loop.create_server(factory, host, port, backlog=BACKLOG, reuse_port=self._reuse_port)
        self.bound = Address(host=host, port=server.sockets[0].getsockname()[1])
        return server

    async def _open_unix(self, factory: Callable[[], asyncio.Protocol]) -> asyncio.AbstractServer:
        path = self._address.path_object
        remove_stale(path)
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.bind(str(path))
            self._inode = path.stat().st_ino
            return await asyncio.get_running_loop().create_unix_server(factory, sock=sock, backlog=BACKLOG)
        except OSError:
            sock.close()
            raise


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
