"""The answers that the proxy gives itself, in the shape that OpenAI clients understand."""

from __future__ import annotations

import orjson

REASONS = {
    400: "Bad Request",
    431: "Request Header Fields Too Large",
    501: "Not Implemented",
    502: "Bad Gateway",
    503: "Service Unavailable",
    504: "Gateway Timeout",
    505: "HTTP Version Not Supported",
}


class Refusal(Exception):  # noqa: N818 - an answer first, raised second
    """Why a request is not, or could not be, passed on. `kind` is the error's code and its metric label."""

    def __init__(self, status: int, kind: str, message: str) -> None:
        super().__init__(message)
        self.status, self.kind, self.message = status, kind, message

    def response(self, *, with_body: bool, keep_alive: bool) -> bytes:
        """The whole response. `with_body` is False for HEAD."""
        origin = "invalid_request_error" if self.status < 500 else "server_error"
        body = orjson.dumps({"error": {"message": self.message, "type": origin, "code": self.kind}})
        lines = (
            f"HTTP/1.1 {self.status} {REASONS[self.status]}",
            "Content-Type: application/json",
            f"Content-Length: {len(body)}",
            f"Connection: {'keep-alive' if keep_alive else 'close'}",
        )
        head = "\r\n".join(lines).encode() + b"\r\n\r\n"
        return head + body if with_body else head
