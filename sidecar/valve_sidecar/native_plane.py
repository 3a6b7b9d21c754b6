"""The native data plane: a thread in C (native/plane) that carries requests without the interpreter."""

from __future__ import annotations

import asyncio
import ctypes
import ipaddress
import logging
import os
import resource
import socket
import struct
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import orjson

from valve_adapters.adapter import Adapter

from . import native
from .address import Address
from .bridge import Bridge
from .errors import SidecarError
from .flight import Intake
from .listener import Listener
from .native_intake import NativeIntake

log = logging.getLogger(__name__)
CONNECT_TIMEOUT_S = 5.0
IDLE_TIMEOUT_S = 75.0  # of a client's connection, counted from its last response: bounds slow heads too
LAST_CALL_S = 2.0  # the same once we drain
RESOLVE_AGAIN_S = 10.0  # the engine's name may come to mean another address


class NativePlane:
    """Implements flight.DataPlane. `bound` is the real address once started (port 0 is allowed)."""

    def __init__(
        self,
        listener: Listener,
        upstream: Address,
        adapter: Adapter,
        intake: Intake | NativeIntake,
        *,
        connect_timeout_s: float = CONNECT_TIMEOUT_S,
        idle_timeout_s: float = IDLE_TIMEOUT_S,
        last_call_s: float = LAST_CALL_S,
    ) -> None:
        self._upstream, self._keepalive_s = upstream, adapter.keepalive_s
        self._reuses_streams = False
        self._connect_timeout_s, self._idle_timeout_s = connect_timeout_s, idle_timeout_s
        self._last_call_s = last_call_s
        self._listener = listener
        self._told = intake if isinstance(intake, NativeIntake) else Bridge(intake)
        self._library = native.library()
        self._handle: int | None = None
        self._resolving: asyncio.Task[None] | None = None
        self._echo_fd = -1
        self._eventfds: list[int] = []

    @property
    def bound(self) -> Address:
        return self._listener.bound

    async def start(self) -> None:
        """Raises ListenError, and SidecarError where the machine has nothing left for it."""
        allow_files()
        self._handle = self._create(self._listener.bind())
        await self._resolve()
        self._library.reuse_streams(self._handle, self._reuses_streams, 0)
        error = self._library.plane_start(self._handle)
        if error:
            raise SidecarError(f"cannot start the data plane's thread: {os.strerror(-error)}")
        self._echo_fd = self._make_eventfd()
        if self._upstream.path is None and not is_literal(self._upstream.host):
            self._resolving = asyncio.create_task(self._resolve_again(), name="valve-resolve")

    async def responds(self, patience_s: float) -> bool:
        """Whether the thread does what it is asked to in time; one that has ended is not missed."""
        if self._handle is None:
            return True
        echoed = asyncio.Event()
        loop = asyncio.get_running_loop()
        loop.add_reader(self._echo_fd, echoed.set)
        try:
            self.post(self._library.plane_echo, self._handle, self._echo_fd)
            await asyncio.wait_for(echoed.wait(), patience_s)
        except TimeoutError:
            return False
        finally:
            loop.remove_reader(self._echo_fd)
        os.eventfd_read(self._echo_fd)
        return True

    async def retire(self, patience_s: float) -> None:
        if self._handle is None:
            return
        self._listener.leave()
        with suppress(TimeoutError):
            await asyncio.wait_for(self._wait_deserted(self._handle, self._idle_timeout_s), patience_s)

    async def drain(self, grace_s: float) -> None:
        if self._handle is None:
            return
        if self._resolving is not None:
            self._resolving.cancel()
            await asyncio.gather(self._resolving, return_exceptions=True)
        self._listener.close()
        try:
            await asyncio.wait_for(self._wait_deserted(self._handle, self._last_call_s), grace_s)
        except TimeoutError:
            running = self._library.plane_exchanges(self._handle)
            log.warning("cutting %d exchanges after %g s of grace", running, grace_s)
        handle, self._handle = self._handle, None
        await asyncio.to_thread(self._library.plane_stop, handle)
        for fd in self._eventfds:  # not before: the thread writes to them
            os.close(fd)

    async def _wait_deserted(self, handle: int, patience_s: float) -> None:
        """Until nobody is connected. Each is served once more; who says nothing for so long is let go."""
        loop, deserted = asyncio.get_running_loop(), asyncio.Event()
        fd = self._make_eventfd()
        loop.add_reader(fd, deserted.set)
        try:
            check_taken(self._library.plane_retire(handle, fd, int(patience_s * 1e9)))
            await deserted.wait()
        finally:
            loop.remove_reader(fd)

    def _make_eventfd(self) -> int:
        """It lives as long as the thread."""
        self._eventfds.append(os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK))
        return self._eventfds[-1]

    def _create(self, sockets: Sequence[socket.socket]) -> int:
        """The plane owns the sockets from here on."""
        fds = [sock.detach() for sock in sockets]
        options = native.PlaneOptions(
            (ctypes.c_int * len(fds))(*fds),
            len(fds),
            orjson.dumps(str(self._upstream))[1:-1],
            self._upstream.authority.encode(),
            self._keepalive_s,
            self._connect_timeout_s,
            self._idle_timeout_s,
            ctypes.pointer(self._told.calls),
            self._told.handle,
        )
        handle: int | None = self._library.plane_create(ctypes.byref(options))
        if handle is None:
            raise SidecarError("no file descriptors are left for the data plane; raise `ulimit -n`")
        return handle

    def reuse_streams(self, reuse: bool) -> None:
        """Whether the engine is known to keep connections open after streams. Before or after the start."""
        self._reuses_streams = reuse
        if self._handle is not None:
            self.post(self._library.reuse_streams, self._handle, int(reuse))

    def post(self, task: Any, context: int, first: int, second: int = 0) -> None:
        """Runs a function of the library on the plane's thread, soon; nothing once it has drained."""
        if self._handle is not None:
            address = ctypes.cast(task, ctypes.c_void_p)
            check_taken(self._library.plane_post(self._handle, address, context, first, second))

    # ---- where the engine is ----

    async def _resolve(self) -> None:
        """An engine whose name means nothing now is unreachable until it does."""
        with suppress(OSError):
            addresses = await engine_addresses(self._upstream)
            array = (native.SocketAddress * len(addresses))()
            for place, address in zip(array, addresses, strict=True):
                ctypes.memmove(ctypes.byref(place), address, len(address))
            lengths = (ctypes.c_uint32 * len(addresses))(*map(len, addresses))
            self._library.plane_set_engine(self._handle, array, lengths, len(addresses))

    async def _resolve_again(self) -> None:
        while True:
            await asyncio.sleep(RESOLVE_AGAIN_S)
            await self._resolve()


def check_taken(result: int) -> None:
    """Of what was asked of the thread."""
    if result < 0:
        log.error("the data plane's thread hangs: it takes no more orders")


async def engine_addresses(upstream: Address) -> list[bytes]:
    """As the kernel's sockaddr, in the order in which they are tried. Raises OSError."""
    if upstream.path is not None:
        return [struct.pack("=H", socket.AF_UNIX) + os.fsencode(upstream.path) + b"\0"]
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(upstream.host, upstream.port, type=socket.SOCK_STREAM)
    return [pack_address(family, address) for family, _, _, _, address in found][: native.ADDRESSES_MAX]


def pack_address(family: int, address: Any) -> bytes:
    host, port = socket.inet_pton(family, address[0].partition("%")[0]), address[1]
    if family == socket.AF_INET6:
        return struct.pack("=H", family) + struct.pack(">HI", port, 0) + host + struct.pack("=I", address[3])
    return struct.pack("=H", family) + struct.pack(">H", port) + host + bytes(8)


def is_literal(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def allow_files() -> None:
    """A stream takes two file descriptors."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
