"""Owns the address of an HTTP server: TCP, TLS or a unix socket."""

from dataclasses import dataclass
from urllib.parse import urlsplit

from valve_loadgen.errors import BenchError

PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True)
class Target:
    """`port` for TCP on `host` (TLS if `tls`), or `path` of a unix socket. `base` precedes every URL path."""

    host: str = "127.0.0.1"
    port: int = 0
    path: str | None = None
    tls: bool = False
    base: str = ""

    @classmethod
    def parse(cls, text: str) -> "Target":
        """http(s)://HOST[:PORT][/BASE], HOST:PORT or unix:/PATH; an ending /v1 is dropped.

        Raises BenchError.
        """
        if text.startswith("unix:"):
            return cls(path=text.removeprefix("unix:"))
        try:
            parts = urlsplit(text if "//" in text else f"//{text}")
            port = parts.port or PORTS.get(parts.scheme)
            if parts.hostname and port:
                base = parts.path.rstrip("/").removesuffix("/v1")
                return cls(parts.hostname, port, tls=parts.scheme == "https", base=base)
        except ValueError:
            pass
        raise BenchError(f"{text!r} is not an address; use http://HOST:PORT or unix:/PATH")

    @property
    def authority(self) -> str:
        """What the Host field says."""
        return self.host if self.port in (0, *PORTS.values()) else f"{self.host}:{self.port}"

    def __str__(self) -> str:
        if self.path:
            return f"unix:{self.path}"
        return f"http{'s' if self.tls else ''}://{self.host}:{self.port}{self.base}"
