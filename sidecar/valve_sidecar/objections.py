"""What aiohttp's request parser lets through and a proxy must not pass on as it is."""

from __future__ import annotations

from aiohttp.http_parser import RawRequestMessage

from .headers import members
from .refusal import Refusal


def objection(message: RawRequestMessage) -> Refusal | None:
    """What aiohttp's parser lets through and a proxy must not pass on."""
    if tuple(message.version) not in ((1, 0), (1, 1)):
        return Refusal(505, "bad_request", "the proxy speaks HTTP/1.1 and HTTP/1.0 only; use one of them")
    if message.method == "CONNECT":
        return Refusal(501, "bad_request", "CONNECT is not for a reverse proxy; send the request itself")
    if "#" in message.path:
        return Refusal(400, "bad_request", "the request target holds a fragment; remove it")
    return _coding_objection(message)


def _coding_objection(message: RawRequestMessage) -> Refusal | None:
    codings = members(message.raw_headers, b"transfer-encoding")
    if not codings:
        return None
    if tuple(message.version) == (1, 0):
        return Refusal(
            400, "bad_request", "HTTP/1.0 has no Transfer-Encoding; send HTTP/1.1 or a Content-Length"
        )
    if codings != {b"chunked"}:
        return Refusal(
            501, "bad_request", "the only Transfer-Encoding that passes is chunked; use Content-Encoding"
        )
    return None


def origin_target(message: RawRequestMessage) -> str:
    """The request target without any authority: the engine to reach is fixed."""
    target: str = message.path
    if target.startswith("/") or target == "*":
        return target
    rest = target.split("://", 1)[-1]
    cut = min((at for at in (rest.find("/"), rest.find("?")) if at >= 0), default=len(rest))
    path = rest[cut:]
    return path if path.startswith("/") else f"/{path}"
