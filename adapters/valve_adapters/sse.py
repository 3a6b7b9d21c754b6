"""Follows a server-sent event stream, however it was cut into chunks."""

from __future__ import annotations

MAX_EVENT = 1 << 20  # bytes of one event that we keep; what is longer is skipped


class EventScanner:
    """Holds at most one unfinished line and one unfinished event. Never raises, whatever the bytes."""

    def __init__(self) -> None:
        self._partial: list[bytes] = []  # an unfinished line, in pieces
        self._data: list[bytes] = []  # `data:` lines of an unfinished event
        self._size = 0  # of both together
        self._too_long = False
        self._after_cr = False  # a line feed that comes next belongs to the carriage return before it

    def feed(self, data: bytes) -> list[bytes]:
        """The payloads of the events that `data` completes: their data lines, joined by line feeds."""
        if self._after_cr and data:
            data, self._after_cr = data.removeprefix(b"\n"), False
        if not data:
            return []
        lines = data.splitlines()  # for bytes these are CR, LF and CRLF, as the standard has it
        rest = b"" if data.endswith((b"\r", b"\n")) else lines.pop()
        self._after_cr = data.endswith(b"\r")
        events = [event for line in lines if (event := self._end_line(line)) is not None]
        if rest:
            self._keep(self._partial, rest)
        return events

    def _end_line(self, line: bytes) -> bytes | None:
        if self._partial:
            begun = b"".join(self._partial)
            self._partial.clear()
            self._size -= len(begun)
            line = begun + line
        if not line:
            return self._end_event()
        if line.startswith(b"data:"):
            self._keep(self._data, line[5:].removeprefix(b" "))
        return None

    def _end_event(self) -> bytes | None:
        data, too_long = self._data, self._too_long
        self._data, self._size, self._too_long = [], 0, False
        return b"\n".join(data) if data and not too_long else None

    def _keep(self, pieces: list[bytes], piece: bytes) -> None:
        self._size += len(piece)
        pieces.append(piece)
        if self._size > MAX_EVENT:
            self._too_long = True
            self._data.clear()
            if self._partial:
                self._partial[:] = [b":"]  # the line is not empty, and a comment from here on
