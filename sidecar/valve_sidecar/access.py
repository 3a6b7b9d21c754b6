"""Who may ask the admin endpoint: on a unix socket by the kernel's word on the peer, on TCP by a token."""

from __future__ import annotations

import hmac
import ipaddress
import os
import socket
import struct
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from aiohttp import web

from .address import Address
from .errors import ConfigError

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
PROBES = frozenset({"/healthz", "/readyz", "/metrics"})  # open on TCP: nothing of a request is in them
SOCKET_MODE = 0o660
MIN_TOKEN = 16  # characters
SO_PEERGROUPS = 59  # asm-generic/socket.h; socket(7)
GROUPS_SIZE = 1024  # bytes: the most that Python takes, 256 groups
CREDENTIALS = struct.Struct("iII")  # struct ucred: pid, uid, gid


@dataclass(frozen=True, slots=True)
class Caller:
    """What the kernel says of the process that connected: its user, its group, its other groups."""

    uid: int
    gids: frozenset[int]

    def may_ask(self, uid: int, gid: int) -> bool:
        """A sidecar of this user and group: its own user, root, or who is in its group."""
        return self.uid in (0, uid) or gid in self.gids


class Access:
    """The rule of one admin address, as aiohttp middleware. `token`: empty for none."""

    def __init__(self, address: Address, token: bytes) -> None:
        self._address, self._token = address, token
        self.is_local = is_local(address)

    @property
    def probes_only(self) -> bool:
        """Request ids and job names stay on the machine, but for who has the token."""
        return not self.is_local and not self._token

    @web.middleware
    async def guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        check = self._refuse_tcp if self._address.path is None else self._refuse_caller
        refused = check(request)
        return refused if refused is not None else await handler(request)

    def _refuse_caller(self, request: web.Request) -> web.Response | None:
        transport = request.transport
        if transport is None:  # it has hung up
            return web.Response(status=403)
        if caller_of(transport.get_extra_info("socket")).may_ask(os.geteuid(), os.getegid()):
            return None
        return web.Response(status=403, text="only the sidecar's own user, its group and root may ask\n")

    def _refuse_tcp(self, request: web.Request) -> web.Response | None:
        if request.path in PROBES or self.probes_only:
            return None
        if self._token:
            return None if self._has_token(request) else unauthorized()
        if is_plain(request.host):
            return None
        return web.Response(status=403, text="ask for localhost or an IP address, not for a name\n")

    def _has_token(self, request: web.Request) -> bool:
        given = request.headers.get("Authorization", "").encode(errors="surrogateescape")
        return hmac.compare_digest(given, b"Bearer " + self._token)


def unauthorized() -> web.Response:
    headers = {"WWW-Authenticate": "Bearer"}
    return web.Response(status=401, text="the admin token is missing or wrong\n", headers=headers)


def caller_of(sock: socket.socket) -> Caller:
    """Who opened the other end of a unix socket."""
    size = CREDENTIALS.size
    _, uid, gid = CREDENTIALS.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size))
    try:
        others = sock.getsockopt(socket.SOL_SOCKET, SO_PEERGROUPS, GROUPS_SIZE)
    except OSError:  # it has more of them
        others = b""
    return Caller(uid, frozenset((gid, *(each for (each,) in struct.iter_unpack("I", others)))))


def is_local(address: Address) -> bool:
    """Whether only this machine can reach it."""
    if address.path is not None or address.host == "localhost":
        return True
    try:
        return ipaddress.ip_address(address.host).is_loopback
    except ValueError:
        return False


def is_plain(authority: str) -> bool:
    """Whether a Host field is no name: its owner can point it at us, and let a browser here read us."""
    try:
        host = urlsplit(f"//{authority}").hostname or ""
        return host == "localhost" or bool(ipaddress.ip_address(host))
    except ValueError:
        return False


def read_token(file: str) -> bytes:
    """What the file holds, without blanks around it; empty without a file. Raises ConfigError."""
    if not file:
        return b""
    try:
        token = Path(file).read_bytes().strip()
    except OSError as error:
        raise ConfigError(f"cannot read the admin token file {file}: {error.strerror}") from error
    if len(token) < MIN_TOKEN or not all(33 <= byte < 127 for byte in token):
        raise ConfigError(
            f"the admin token file {file} must hold {MIN_TOKEN} or more plain characters without blanks; "
            "make one with: openssl rand -hex 32"
        )
    return token
