"""An engine: each answer takes a fifth of a second, or until /tmp/release is there for a stream."""

import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.answer(b"{}")

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if b"hold" in body:
            while not Path("/tmp/release").exists():
                time.sleep(0.02)
        else:
            time.sleep(0.2)
        self.answer(b'{"usage":{"completion_tokens":1}}')

    def answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


ThreadingHTTPServer(("127.0.0.1", 8000), Handler).serve_forever()
