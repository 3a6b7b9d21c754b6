"""Tokens of an engine's own metrics: added up over restarts, told to the row, and never in the way."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from valve_runtime import progress
from valve_runtime.progress import Metrics, Progress, Sum, Tokens


def test_a_sum_goes_on_when_the_engine_starts_again() -> None:
    counted = Sum()
    for tokens in ((10, 5), (25, 5), (3, 0), (4, 2)):
        counted.take(tokens)
    assert counted.total == (25 + 4, 5 + 2)


class Engine:
    """Answers `status` and `text`."""

    def __init__(self) -> None:
        self.status, self.text = 200, b""
        engine = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(engine.status)
                self.send_header("Content-Length", str(len(engine.text)))
                self.end_headers()
                self.wfile.write(engine.text)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/metrics"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    monkeypatch.setattr(progress, "READ_S", 0.001)
    made = Engine()
    yield made
    made.close()


def read(text: bytes) -> Tokens | None:
    return (int(text), 1) if text.isdigit() else None


def test_what_the_engine_tells_is_told_on_and_no_longer_once_stopped(engine: Engine) -> None:
    engine.text = b"7"
    told, came = list[tuple[int, int]](), threading.Event()

    def tell(tokens: int, input_tokens: int) -> None:
        told.append((tokens, input_tokens))
        came.set()

    counted = Progress(Metrics(engine.url, read), tell)
    counted.start()
    assert came.wait(20)
    counted.stop()
    assert told[0] == (7, 1)
    engine.text = b"8"
    counted._take(b"8")
    assert (8, 1) not in told


@pytest.mark.parametrize(("status", "says"), [(501, "answers 501"), (200, "tells no tokens that we know")])
def test_an_engine_that_does_not_tell_is_named_once(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, status: int, says: str
) -> None:
    engine.status, engine.text = status, b"nothing"
    said, enough = list[str](), threading.Semaphore(0)
    monkeypatch.setattr(progress, "say", said.append)
    counted = Progress(Metrics(engine.url, read), lambda *_: pytest.fail("nothing is known"))
    asked = progress.ask

    def ask(url: str) -> bytes:
        enough.release()
        return asked(url)

    monkeypatch.setattr(progress, "ask", ask)
    counted.start()
    for _ in range(3):
        assert enough.acquire(timeout=20)
    counted.stop()
    assert said == [f"no count of offline tokens: {engine.url} {says}"]


@pytest.mark.parametrize("url", ["http://[::1/metrics", "http://a..b/metrics"])
def test_what_is_no_address_after_all_is_told_once(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    said, asked = list[str](), threading.Semaphore(0)
    monkeypatch.setattr(progress, "say", said.append)
    counted = Progress(Metrics(url, read), lambda *_: pytest.fail("nothing is known"))
    wait = counted._stopping.wait
    monkeypatch.setattr(counted._stopping, "wait", lambda timeout_s: (asked.release(), wait(timeout_s))[1])
    counted.start()
    for _ in range(3):
        assert asked.acquire(timeout=20), "its thread has ended"
    counted.stop()
    assert len(said) == 1
    assert url in said[0]
