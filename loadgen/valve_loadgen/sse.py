"""Owns server-sent events: bytes in, whole data payloads out (no I/O)."""


class SseParser:
    """Splits a body into events. Comments, event names and ids are dropped; only `data` is kept."""

    def __init__(self) -> None:
        self._partial = b""
        self._data: list[bytes] = []

    def feed(self, chunk: bytes) -> list[bytes]:
        """The data payloads of the events that `chunk` completes, in order."""
        if not self._partial and not self._data and _is_one_event(chunk):
            return [chunk[6:-2]]
        lines = (self._partial + chunk).split(b"\n")
        self._partial = lines.pop()
        payloads = (self._line(line.removesuffix(b"\r")) for line in lines)
        return [payload for payload in payloads if payload is not None]

    def _line(self, line: bytes) -> bytes | None:
        if not line:
            payload, self._data = b"\n".join(self._data), []
            return payload or None
        if line.startswith(b"data:"):
            self._data.append(line[5:].removeprefix(b" "))
        return None


def _is_one_event(chunk: bytes) -> bool:
    """Whether it is one line of data and an empty one, which is how engines send tokens."""
    return chunk.startswith(b"data: ") and chunk.endswith(b"\n\n") and chunk.find(b"\n") == len(chunk) - 2
