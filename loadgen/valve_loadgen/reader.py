"""Owns the reading of a client's sockets: one poll for all that are ready, at most one every NAP_NS.

A busy client would else wake up for every token. The kernel stamps what arrives meanwhile, so that nothing is
lost by looking a little later; no nap delays what is to be sent.
"""

import asyncio
import select
import socket
import time
from collections.abc import Callable

NAP_NS = 500_000
NEVER_NS = 1 << 63


class Reader:
    """Calls what was registered for a socket when that is readable; to be closed.

    `busy_at_ns`: when the loop has something to send. No nap lasts beyond, and reading stops then until
    whoever sends has set it anew.
    """

    def __init__(self) -> None:
        self.busy_at_ns = NEVER_NS
        self._epoll = select.epoll()
        self._readable: dict[int, Callable[[], None]] = {}
        self._polled_ns = 0
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._epoll.fileno(), self._drain)

    def close(self) -> None:
        self._loop.remove_reader(self._epoll.fileno())
        self._epoll.close()

    def add(self, peer: socket.socket, readable: Callable[[], None]) -> None:
        self._readable[peer.fileno()] = readable
        self._epoll.register(peer.fileno(), select.EPOLLIN)

    def remove(self, peer: socket.socket) -> None:
        if self._readable.pop(peer.fileno(), None):
            self._epoll.unregister(peer.fileno())

    def _drain(self) -> None:
        nap_ns = min(self._polled_ns + NAP_NS, self.busy_at_ns) - time.monotonic_ns()
        if nap_ns > 0:
            time.sleep(nap_ns / 1e9)
        self._polled_ns = time.monotonic_ns()
        for fd, _event in self._epoll.poll(0):
            if time.monotonic_ns() >= self.busy_at_ns:
                self._polled_ns = 0  # what is left is still readable, and not to wait for another nap
                return
            if fd in self._readable:  # not closed by one before
                self._readable[fd]()
