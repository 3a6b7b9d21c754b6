"""Which header fields cross the proxy, how a body is framed, and what the heads that we write look like."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum, auto

RawHeaders = Sequence[tuple[bytes, bytes]]

# RFC 9110, 7.6.1. Trailer is here because aiohttp's parser drops the trailers themselves.
HOP_BY_HOP = frozenset(
    {
        b"connection",
        b"http2-settings",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authentication-info",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)
# A peer that names these in Connection would make us send a message without its target or its end.
NEVER_NOMINATED = frozenset({b"content-length", b"host"})
NO_BODY_STATUSES = frozenset({204, 304})


class Framing(Enum):
    """How the reader of a message finds the end of its body."""

    NONE = auto()
    LENGTH = auto()
    CHUNKED = auto()
    UNTIL_CLOSE = auto()


def values(raw: RawHeaders, name: bytes) -> list[bytes]:
    """Every value of the field `name` (lower case), in order."""
    return [value for key, value in raw if key.lower() == name]


def members(raw: RawHeaders, name: bytes) -> set[bytes]:
    """The comma-separated members of the field `name`, in lower case."""
    found = (member.strip().lower() for value in values(raw, name) for member in value.split(b","))
    return {member for member in found if member}


def without(raw: RawHeaders, name: bytes) -> list[tuple[bytes, bytes]]:
    return [(key, value) for key, value in raw if key.lower() != name]


def end_to_end(raw: RawHeaders) -> list[tuple[bytes, bytes]]:
    """The fields that travel on: order, case, duplicates and values as they came."""
    dropped = HOP_BY_HOP | (members(raw, b"connection") - NEVER_NOMINATED)
    return [(name, value) for name, value in raw if name.lower() not in dropped]


def request_framing(raw: RawHeaders, *, chunked: bool) -> Framing:
    """The parser has already refused every request that says both or contradicts itself."""
    if chunked:
        return Framing.CHUNKED
    return Framing.LENGTH if values(raw, b"content-length") else Framing.NONE


def response_framing(raw: RawHeaders, *, method: str, status: int, chunked: bool, http10: bool) -> Framing:
    """How to send on what the engine framed its own way, to a client that may speak HTTP/1.0 only."""
    if method == "HEAD" or status in NO_BODY_STATUSES or status < 200:
        return Framing.NONE
    if not chunked and values(raw, b"content-length"):
        return Framing.LENGTH
    return Framing.UNTIL_CLOSE if http10 else Framing.CHUNKED


def request_head(line: str, raw: RawHeaders, framing: Framing, *, host: str, own: RawHeaders = ()) -> bytes:
    """A request head for the engine; `host` is used only where the client (HTTP/1.0) named none."""
    fields = end_to_end(raw)
    if not values(fields, b"host"):
        fields.insert(0, (b"Host", host.encode()))
    if framing is Framing.CHUNKED:
        fields = without(fields, b"content-length")
    return _head(line, fields, framing, own)


def response_head(line: str, raw: RawHeaders, framing: Framing, status: int, own: RawHeaders = ()) -> bytes:
    """A response head for the client, `own` being our hop-by-hop fields.

    Raises ValueError if the engine's fields would break the framing.
    """
    fields = _one_length(end_to_end(raw))
    if framing in (Framing.CHUNKED, Framing.UNTIL_CLOSE) or status == 204 or status < 200:
        fields = without(fields, b"content-length")
    if any(b"\r" in value for _, value in fields):  # the response parser is lenient about these
        raise ValueError("a header of the response holds a carriage return")
    return _head(line, fields, framing, own)


def _one_length(fields: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    lengths = values(fields, b"content-length")
    if len(lengths) < 2:
        return fields
    if len(set(lengths)) > 1:
        raise ValueError("the response has contradicting Content-Length headers")
    return [*without(fields, b"content-length"), (b"Content-Length", lengths[0])]


def _head(line: str, fields: RawHeaders, framing: Framing, own: RawHeaders) -> bytes:
    parts = [line.encode(errors="surrogateescape")]
    parts += [b"%b: %b" % field for field in fields]
    if framing is Framing.CHUNKED:
        parts.append(b"Transfer-Encoding: chunked")
    parts += [b"%b: %b" % field for field in own]
    return b"\r\n".join(parts) + b"\r\n\r\n"
