"""A strict engine and a strict client (h11): what they make of bytes is what a careful peer would."""

from __future__ import annotations

import socket
import threading
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import h11

from .wire import PATIENCE_S, Engine

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@dataclass(frozen=True)
class Seen:
    """One request, as it was read."""

    method: bytes
    target: bytes
    body: bytes


def read_requests(data: bytes) -> list[Seen]:
    """Every complete request in `data`, up to the first thing that is none."""
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
    connection.receive_data(data)
    found: list[Seen] = []
    try:
        while (request := connection.next_event()) is not h11.NEED_DATA and isinstance(request, h11.Request):
            body = b""
            while isinstance(event := connection.next_event(), h11.Data):
                body += bytes(event.data)
            if not isinstance(event, h11.EndOfMessage):
                break
            found.append(Seen(request.method, request.target, body))
            connection.send(h11.Response(status_code=200, headers=[("Content-Length", "0")]))
            connection.send(h11.EndOfMessage())
            if connection.our_state is not h11.DONE or connection.their_state is not h11.DONE:
                break
            connection.start_next_cycle()
    except h11.RemoteProtocolError:
        pass
    return found


class StrictEngine:
    """Answers every request with `answer`, then closes if `closes`; takes down every byte it gets."""

    def __init__(self, path: Path | None = None) -> None:
        self.engine = Engine(path, 64)
        self.answer, self.closes = OK, False
        self.received: list[bytes] = []
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def forget(self) -> None:
        self.received = []

    def close(self) -> None:
        self.engine.close()

    def _accept(self) -> None:
        while True:
            try:
                peer = self.engine.accept()
            except TimeoutError:
                continue
            except OSError:
                return
            threading.Thread(target=self._serve, args=(peer.sock,), daemon=True).start()

    def _serve(self, sock: socket.socket) -> None:
        received, answered, place = b"", 0, len(self.received)
        record = self.received
        record.append(b"")
        with closing(sock):
            try:
                while data := sock.recv(65_536):
                    received += data
                    record[place] = received
                    for _ in read_requests(received)[answered:]:
                        answered += 1
                        sock.sendall(self.answer)
                        if self.closes:
                            return
            except OSError:
                return


@dataclass(frozen=True)
class Response:
    status: int
    body: bytes
    complete: bool


def ask(address: str, data: bytes) -> Response | None:
    """What a strict client makes of the first answer to `data`; None if there is none that it can read."""
    host, _, port = address.removeprefix("http://").rpartition(":")
    with socket.create_connection((host, int(port)), timeout=PATIENCE_S) as sock:
        try:
            sock.sendall(data)
            return read_response(sock, data.partition(b" ")[0])
        except (OSError, h11.RemoteProtocolError):
            return None


def read_response(sock: socket.socket, method: bytes) -> Response | None:
    connection = h11.Connection(h11.CLIENT)
    head = h11.Request(method="HEAD" if method == b"HEAD" else "GET", target="/", headers=[("Host", "x")])
    connection.send(head)
    connection.send(h11.EndOfMessage())
    status, body = 0, b""
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            connection.receive_data(sock.recv(65_536))
        elif isinstance(event, h11.Response):
            status = event.status_code
        elif isinstance(event, h11.Data):
            body += bytes(event.data)
        elif isinstance(event, h11.EndOfMessage):
            return Response(status, body, complete=True)
        elif isinstance(event, h11.ConnectionClosed):
            return Response(status, body, complete=False) if status else None
