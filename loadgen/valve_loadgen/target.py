"""Owns the address of an HTTP server: TCP or a unix socket."""

from dataclasses import dataclass
from urllib.parse import urlsplit

from valve_loadgen.errors import BenchError


@dataclass(frozen=True)
class Target:
    """`port` for TCP on `host`, or `path` of a unix socket."""

    host: str = "127.0.0.1"
    port: int = 0
    path: str | None = None

    @classmethod
    def parse(cls, text: str) -> "Target":
        """http://HOST:PORT, HOST:PORT or unix:/PATH. Raises BenchError."""
        if text.startswith("unix:"):
            return cls(path=text.removeprefix("unix:"))
        try:
            parts = urlsplit(text if "//" in text else f"//{text}")
            if parts.hostname and parts.port:
                return cls(parts.hostname, parts.port)
        except ValueError:
            pass
        raise BenchError(f"{text!r} is not an address; use http://HOST:PORT or unix:/PATH")

    def __str__(self) -> str:
        return f"unix:{self.path}" if self.path else f"http://{self.host}:{self.port}"
