"""Both ends of the proxy as plain sockets: what a test sends and reads is what is on the wire."""

from __future__ import annotations

import select
import socket
import struct
from pathlib import Path

PATIENCE_S = 10  # only ever waited out by a failing test
QUIET_S = 0.3  # no room in a socket for so long: its reader has stopped


class Peer:
    """One connection. Reads raise TimeoutError rather than hang."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.buffer = b""
        self.trailers: list[bytes] = []  # of the last chunked body
        sock.settimeout(PATIENCE_S)

    def send(self, *parts: bytes) -> None:
        self.sock.sendall(b"".join(parts))

    def read(self, size: int) -> bytes:
        while len(self.buffer) < size:
            self._fill()
        data, self.buffer = self.buffer[:size], self.buffer[size:]
        return data

    def read_until(self, mark: bytes) -> bytes:
        while mark not in self.buffer:
            self._fill()
        return self.read(self.buffer.index(mark) + len(mark))

    def read_head(self) -> Message:
        return Message(self.read_until(b"\r\n\r\n"))

    def read_message(self) -> Message:
        """A head and its body, by a reader that accepts exactly one way of framing."""
        message = self.read_head()
        chunked = message.values("transfer-encoding") == ["chunked"]
        lengths = message.values("content-length")
        assert not (chunked and lengths), message.head
        assert len(lengths) <= 1, message.head
        if chunked:
            message.body, message.trailers = self.read_chunks(), list(self.trailers)
        elif lengths:
            message.body = self.read(int(lengths[0]))
        return message

    def read_chunk(self) -> bytes:
        """The last one, which is empty, comes with its trailers: `trailers`."""
        size = int(self.read_until(b"\r\n").strip(), 16)
        data = self.read(size)
        while line := self.read_until(b"\r\n")[:-2]:
            assert not size, f"a chunk is longer than its size: {line!r}"
            self.trailers.append(line)
        return data

    def read_chunks(self) -> bytes:
        """A chunked body."""
        self.trailers.clear()
        chunks = []
        while chunk := self.read_chunk():
            chunks.append(chunk)
        return b"".join(chunks)

    def read_to_end(self) -> bytes:
        """Everything up to the other side's close. Raises ConnectionError if it was a reset."""
        try:
            while True:
                self._fill()
        except EOFError:
            data, self.buffer = self.buffer, b""
            return data

    def sees_close(self) -> bool:
        """Waits for the other side to close, whichever way, and drops what comes before that."""
        try:
            self.read_to_end()
        except ConnectionError:
            pass
        return True

    def is_silent(self) -> bool:
        """Nothing to read right now, and not closed."""
        return not self.buffer and not select.select([self.sock], [], [], 0)[0]

    def fill(self, limit: int) -> int:
        """Sends filler until nobody takes any more, or `limit` bytes. Returns how many were taken."""
        block, taken = b"x" * 65536, 0
        self.sock.setblocking(False)
        while taken < limit and select.select([], [self.sock], [], QUIET_S)[1]:
            try:
                taken += self.sock.send(block[: limit - taken])
            except BlockingIOError:
                continue
        self.sock.settimeout(PATIENCE_S)
        return taken

    def half_close(self) -> None:
        self.sock.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        self.sock.close()

    def reset(self) -> None:
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def _fill(self) -> None:
        data = self.sock.recv(262144)
        if not data:
            raise EOFError(f"closed after {self.buffer!r}")
        self.buffer += data


class Message:
    """A head as it was on the wire, and perhaps a body."""

    def __init__(self, head: bytes) -> None:
        self.head = head
        lines = head[:-4].decode("latin-1").split("\r\n")
        self.first = lines[0]
        self.fields = [(name, value) for name, _, value in (line.partition(": ") for line in lines[1:])]
        self.body = b""
        self.trailers: list[bytes] = []

    @property
    def status(self) -> int:
        return int(self.first.split(" ")[1])

    def values(self, name: str) -> list[str]:
        return [value for key, value in self.fields if key.lower() == name]


class Engine:
    """The upstream's listening socket; a test accepts and answers by hand."""

    def __init__(self, path: Path | None, backlog: int) -> None:
        self._path = path
        self._sock = socket.socket(socket.AF_UNIX if path else socket.AF_INET)
        self._sock.bind(str(path) if path else ("127.0.0.1", 0))
        self._sock.listen(backlog)
        self._sock.settimeout(PATIENCE_S)

    @property
    def address(self) -> str:
        return f"unix:{self._path}" if self._path else f"http://127.0.0.1:{self._sock.getsockname()[1]}"

    def accept(self) -> Peer:
        return Peer(self._sock.accept()[0])

    def was_reached(self) -> bool:
        return bool(select.select([self._sock], [], [], 0)[0])

    def close(self) -> None:
        self._sock.close()
        if self._path and self._path.exists():
            self._path.unlink()


def connect(address: str) -> Peer:
    """To `http://host:port` or `unix:/path`."""
    if address.startswith("unix:"):
        return connect_unix(address.removeprefix("unix:"))
    host, _, port = address.removeprefix("http://").rpartition(":")
    return Peer(socket.create_connection((host, int(port))))


def connect_unix(path: str) -> Peer:
    sock = socket.socket(socket.AF_UNIX)
    try:
        sock.connect(path)
    except OSError:
        sock.close()
        raise
    return Peer(sock)
