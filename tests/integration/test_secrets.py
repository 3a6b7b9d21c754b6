"""Nothing of a request's secrets or content is told anywhere: log, metrics, state, events, page, spans.

Its path without the query and its X-Request-Id are: they are what it is found by.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator

import httpx
import pytest

from valve_sidecar.config import DATA_PLANES

from .collector import Collector
from .stage import Sidecar, Stage, wait_until

pytestmark = pytest.mark.integration
CANARY = "canary-7f3a91"
SECRETS = {
    "Authorization": f"Bearer {CANARY}",
    "Cookie": f"session={CANARY}",
    "X-Api-Key": CANARY,
    "User-Agent": CANARY,
}
BODY = {"model": "m", "stream": True, "messages": [{"role": "user", "content": CANARY}], "user": CANARY}
MALFORMED = f"POST /{CANARY} HTTP/1.1\r\nHost: {CANARY}\r\nX-{CANARY} : y\r\n\r\n".encode()
CONTENT = b'"content":"one"'


@pytest.fixture
def collector() -> Iterator[Collector]:
    collector = Collector()
    yield collector
    collector.close()


def ask(sidecar: Sidecar, path: str = "/v1/chat/completions") -> httpx.Response:
    return httpx.post(f"{sidecar.listen}{path}?key={CANARY}", json=BODY, headers=SECRETS, timeout=20)


def send_raw(sidecar: Sidecar, data: bytes) -> bytes:
    """The whole answer."""
    host, _, port = sidecar.listen.removeprefix("http://").rpartition(":")
    with socket.create_connection((host, int(port)), timeout=20) as sock:
        sock.sendall(data)
        answer = b""
        while got := sock.recv(65536):
            answer += got
    return answer


def all_that_is_told(sidecar: Sidecar, collector: Collector) -> dict[str, str]:
    told = {path: httpx.get(sidecar.admin + path).text for path in ("/", "/metrics", "/state", "/events")}
    with httpx.stream("GET", f"{sidecar.admin}/live") as live:
        told["/live"] = next(line for line in live.iter_lines() if line.startswith("data: "))
    told["spans"] = "".join(map(str, collector.received))
    assert sidecar.end() == 0
    told["log"] = "".join(sidecar.lines)
    return told


@pytest.mark.parametrize("data_plane", DATA_PLANES)
def test_a_canary_is_found_nowhere(stage: Stage, collector: Collector, data_plane: str) -> None:
    sidecar = stage.sidecar(
        "--otlp-endpoint", collector.url, "--log-level", "debug", "--data-plane", data_plane
    )
    stage.engine.release.set()
    answered = ask(sidecar)
    assert CONTENT in answered.content.replace(b" ", b"")
    assert ask(sidecar, "/unknown").status_code == 200
    stage.engine.behave = "die"
    with pytest.raises(httpx.HTTPError):
        ask(sidecar)
    assert b" 400 " in send_raw(sidecar, MALFORMED).split(b"\r\n")[0]
    wait_until(lambda: len(collector.named("chat")) >= 2, "both spans")
    told = all_that_is_told(sidecar, collector)
    assert '"request"' in told["/events"], "there was something to tell"
    leaks = {place for place, text in told.items() if CANARY in text}
    assert not leaks
    assert [place for place, text in told.items() if '"one"' in text] == []


def test_a_refusal_does_not_echo_the_request(stage: Stage) -> None:
    sidecar = stage.sidecar()
    assert CANARY.encode() not in send_raw(sidecar, MALFORMED)


def test_a_tenants_arguments_and_environment_stay_its_own(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("API_KEY", CANARY)
    sidecar, tenant = stage.sidecar(), stage.tenant()
    tenant.wait_running()
    records = [path.read_text() for path in stage.runtime_dir.rglob("*.json")]
    assert records
    assert CANARY not in str(sidecar.state()) + "".join(records)
