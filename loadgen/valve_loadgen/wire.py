"""Owns the HTTP/1.1 response parser of the client: bytes in, body pieces out (no I/O)."""

from valve_loadgen.errors import BenchError

MAX_HEAD = 65_536


class WireError(BenchError):
    """The peer sent something that is not an HTTP/1.1 response."""


class ResponseParser:
    """Reads one response to a request that was not HEAD.

    `status` is 0 until the head is read; `complete` says that the body has ended; `reusable` that the
    connection may carry another request afterwards; `chunked` that the body says itself where it ends.
    """

    def __init__(self) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self.complete = False
        self._buffer = b""
        self._left: int | None = None  # bytes left of the body or of the present chunk; None: until the close
        self.chunked = False
        self._after_chunk = False

    @property
    def reusable(self) -> bool:
        framed = self.chunked or "content-length" in self.headers
        return self.complete and framed and self.headers.get("connection", "").lower() != "close"

    def feed(self, data: bytes) -> list[bytes]:
        """The body pieces in `data`. Raises WireError."""
        if self.chunked and not (self._buffer or self._left or self._after_chunk):
            piece = _one_chunk(data)
            if piece:
                return [piece]
        self._buffer += data
        while self.status < 200:
            if not self._read_head():
                return []
        pieces = self._read_chunks() if self.chunked else self._read_plain()
        if self.complete and self._buffer:
            raise WireError(f"bytes after the response's end: {self._buffer[:40]!r}")
        return pieces

    def end_of_stream(self) -> None:
        """The peer closed. Raises WireError if that cuts the response."""
        if self.status >= 200 and self._left is None and not self.chunked:
            self.complete = True
        if not self.complete:
            raise WireError("the connection closed before the response's end")

    def _read_head(self) -> bool:
        head, mark, rest = self._buffer.partition(b"\r\n\r\n")
        if not mark:
            if len(head) > MAX_HEAD:
                raise WireError("the response's head has no end")
            return False
        lines = head.decode("latin-1").split("\r\n")
        version, _, status = lines[0].partition(" ")
        if not version.startswith("HTTP/1.") or not status[:3].isdigit():
            raise WireError(f"not an HTTP/1.1 response: {lines[0][:40]!r}")
        self.status, self._buffer = int(status[:3]), rest
        pairs = (line.partition(":") for line in lines[1:])
        self.headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
        self._frame()
        return True

    def _frame(self) -> None:
        self.chunked = "chunked" in self.headers.get("transfer-encoding", "").lower()
        length = self.headers.get("content-length")
        if self.status in (204, 304):
            self._left, self.chunked, self.complete = 0, False, True
        elif self.chunked:
            self._left = 0
        elif length is not None:
            self._left = int(length)
            self.complete = self._left == 0

    def _read_plain(self) -> list[bytes]:
        if self._left is None:
            piece, self._buffer = self._buffer, b""
        else:
            piece, self._buffer = self._buffer[: self._left], self._buffer[self._left :]
            self._left -= len(piece)
            self.complete = self._left == 0
        return [piece] if piece else []

    def _read_chunks(self) -> list[bytes]:
        pieces: list[bytes] = []
        while not self.complete:
            if self._left:
                piece, self._buffer = self._buffer[: self._left], self._buffer[self._left :]
                if not piece:
                    break
                self._left -= len(piece)
                pieces.append(piece)
            elif not self._read_chunk_line():
                break
        return pieces

    def _read_chunk_line(self) -> bool:
        line, mark, rest = self._buffer.partition(b"\r\n")
        if not mark:
            return False
        if self._after_chunk:  # the CRLF that ends a chunk's data
            if line:
                raise WireError(f"a chunk is longer than announced: {line[:40]!r}")
            self._buffer, self._after_chunk = rest, False
            return True
        return self._start_chunk(line, rest)

    def _start_chunk(self, line: bytes, rest: bytes) -> bool:
        try:
            size = int(line.split(b";")[0], 16)
            if size < 0:
                raise ValueError(size)
        except ValueError as error:
            raise WireError(f"not a chunk size: {line[:40]!r}") from error
        if size:
            self._left, self._buffer, self._after_chunk = size, rest, True
            return True
        end = (b"\r\n" + rest).find(b"\r\n\r\n")  # trailers, if any, then an empty line
        if end < 0:
            return False
        self._buffer, self.complete = rest[end + 2 :], True
        return True


def _one_chunk(data: bytes) -> bytes | None:
    """The content if `data` is exactly one chunk, which is how servers send tokens; saves the general way."""
    end = data.find(b"\r\n")
    try:
        size = int(data[:end], 16)
    except ValueError:
        return None
    whole = 0 < size == len(data) - end - 4 and data.endswith(b"\r\n")
    return data[end + 2 : -2] if whole else None
