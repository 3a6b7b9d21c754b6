"""Where a server listens or an engine is reached: TCP or a unix socket, over plain HTTP."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

import httpx

from .errors import ConfigError

EXAMPLES = "write http://HOST:PORT, HOST:PORT or unix:/PATH"
UNIX_PATH_LIMIT = 107  # bytes in sockaddr_un.sun_path, less the closing zero


@dataclass(frozen=True, slots=True)
class Address:
    """Either `host` and `port` (TCP; port 0 = any free one), or `path` (unix socket)."""

    host: str = ""
    port: int = 0
    path: str | None = None

    @classmethod
    def parse(cls, text: str) -> Address:
        """Reads `http://host:port`, `host:port`, `[v6]:port` or `unix:/path`. Raises ConfigError."""
        scheme, _, rest = text.partition(":")
        return _unix(text, rest) if scheme == "unix" else _tcp(text)

    @property
    def path_object(self) -> Path:
        """The unix socket's path. Raises ValueError for a TCP address."""
        if self.path is None:
            raise ValueError(f"{self} is not a unix socket")
        return Path(self.path)

    @property
    def authority(self) -> str:
        """What a client writes into its Host header."""
        if self.path is not None:
            return "localhost"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def base_url(self) -> str:
        """For HTTP clients; for a unix socket they need its path as well."""
        return f"http://{self.authority}"

    def client(self, timeout_s: float) -> httpx.AsyncClient:
        """For our own questions (probes, load), never for what passes through. The caller closes it."""
        transport = httpx.AsyncHTTPTransport(uds=self.path)  # no proxies from the environment
        return httpx.AsyncClient(
            base_url=self.base_url, transport=transport, timeout=timeout_s, trust_env=False
        )

    def __str__(self) -> str:
        return self.base_url if self.path is None else f"unix:{self.path}"


def _unix(text: str, path: str) -> Address:
    if not path.startswith("/") or path.startswith("//"):
        raise ConfigError(
            f"address {text!r}: a unix socket needs an absolute path, as in unix:/run/valve/in.sock"
        )
    if len(path.encode()) > UNIX_PATH_LIMIT:
        raise ConfigError(
            f"address {text!r}: the path is longer than {UNIX_PATH_LIMIT} bytes; use a shorter one"
        )
    return Address(path=path)


def _tcp(text: str) -> Address:
    try:
        parts = urlsplit(text if "://" in text else f"http://{text}")
    except ValueError:  # an unclosed bracket
        raise ConfigError(f"address {text!r}: the host is malformed; {EXAMPLES}") from None
    if parts.scheme == "https":
        raise ConfigError(
            f"address {text!r}: https is not supported, because the engine runs beside Valve and their bytes "
            "stay on this machine; use http here, and end TLS in front of Valve"
        )
    if parts.scheme != "http":
        raise ConfigError(f"address {text!r}: unknown scheme {parts.scheme!r}; {EXAMPLES}")
    if parts.path not in ("", "/") or parts.query or parts.fragment or "@" in parts.netloc:
        raise ConfigError(f"address {text!r}: only a host and a port belong here; {EXAMPLES}")
    return Address(host=_host(text, parts), port=_port(text, parts))


def _host(text: str, parts: SplitResult) -> str:
    host = parts.hostname
    if not host or any(c.isspace() for c in host):
        raise ConfigError(f"address {text!r}: the host is missing or malformed; {EXAMPLES}")
    return host


def _port(text: str, parts: SplitResult) -> int:
    try:
        port = parts.port
    except ValueError:
        raise ConfigError(
            f"address {text!r}: the port must be a number from 0 to 65535; {EXAMPLES}"
        ) from None
    if port is None:
        raise ConfigError(f"address {text!r}: the port is missing; {EXAMPLES}")
    return port
