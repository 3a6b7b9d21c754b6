"""Bad input and broken surroundings of `valve serve`: a clear word, and online requests survive."""

import os
import socket
import subprocess
from pathlib import Path

import httpx
import pytest

from valve_runtime import native
from valve_runtime.node import Node, Side
from valve_sidecar.config import DATA_PLANES

from .stage import Request, Stage, valve, wait_until

pytestmark = pytest.mark.integration


@pytest.fixture(autouse=True, params=DATA_PLANES)
def data_plane(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VALVE_DATA_PLANE", request.param)


def serve_once(stage: Stage, *arguments: str) -> tuple[int, str]:
    answer = valve(stage.runtime_dir, "serve", *arguments)
    return answer.returncode, answer.stderr


def answers_online(sidecar_url: str, stage: Stage) -> None:
    stage.engine.release.set()
    Request(sidecar_url).wait_done()


def test_a_port_in_use(stage: Stage) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        code, text = serve_once(
            stage, "--upstream", stage.engine.url, "--listen", address, "--admin", "127.0.0.1:0"
        )
        assert code == 1
        assert address in text
        assert "in use" in text
        code, text = serve_once(
            stage, "--upstream", stage.engine.url, "--listen", "127.0.0.1:0", "--admin", address
        )
        assert code == 1
        assert "--admin" in text


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--upstream", "ftp://x:1"], "unknown scheme"),
        (["--upstream", "http://127.0.0.1"], "port is missing"),
        ([], "--upstream"),
        (["--upstream", "http://127.0.0.1:1", "--workers", "none"], "workers must be a number"),
        (["--upstream", "http://127.0.0.1:1", "--device", "GPU-nonsense"], "GPU-nonsense"),
        (["--upstream", "http://127.0.0.1:8780"], "call itself"),
        (["--upstream", "http://127.0.0.1:1", "--config", "/nowhere.toml"], "/nowhere.toml"),
    ],
)
def test_bad_arguments(stage: Stage, arguments: list[str], named: str) -> None:
    code, text = serve_once(stage, *arguments)
    assert code == 2
    assert named in text
    assert "Traceback" not in text


def test_an_engine_that_comes_late(stage: Stage) -> None:
    with socket.create_server(("127.0.0.1", 0)) as reserved:
        port = reserved.getsockname()[1]
    sidecar, tenant = stage.sidecar(upstream=f"http://127.0.0.1:{port}"), stage.tenant()
    tenant.wait_running()
    answer = httpx.post(f"{sidecar.listen}/v1/completions", json={})
    assert answer.status_code == 502
    assert str(port) in answer.json()["error"]["message"]
    assert httpx.get(f"{sidecar.admin}/readyz").status_code == 503
    assert httpx.get(f"{sidecar.admin}/healthz").status_code == 200
    tenant.wait_running()
    stage.late_engine(port).release.set()
    Request(sidecar.listen).wait_done()
    assert httpx.get(f"{sidecar.admin}/readyz").status_code == 200


@pytest.mark.parametrize("damage", ["truncated", "foreign", "empty"])
def test_a_damaged_segment_leaves_online_alone(stage: Stage, damage: str) -> None:
    contents = {"truncated": b"VLVEHLD1", "foreign": b"x" * 100_000, "empty": b""}
    (stage.runtime_dir / "holders").write_bytes(contents[damage])
    sidecar = stage.sidecar()
    answers_online(sidecar.listen, stage)
    ready = httpx.get(f"{sidecar.admin}/readyz")
    assert ready.status_code == 503
    assert "holders" in ready.text, "it names the file"
    assert not sidecar.state()["gated"]
    answer = valve(stage.runtime_dir, "run", "--device", "cpu", "--", "true")
    assert answer.returncode == 1
    assert "holders" in answer.stderr


def test_an_older_segment_is_refused_and_counted_and_online_goes_on(stage: Stage) -> None:
    Node.open(stage.runtime_dir, Side.HOLDER).close()
    with (stage.runtime_dir / "holders").open("r+b") as file:
        file.seek(native.Header.layout_version.offset)
        file.write((native.LAYOUT_VERSION - 1).to_bytes(4, "little"))
    sidecar = stage.sidecar()
    answers_online(sidecar.listen, stage)
    older = f"layout {native.LAYOUT_VERSION - 1}.{native.LAYOUT_MINOR}, not {native.LAYOUT}"
    refused = (
        f"{stage.runtime_dir / 'holders'} is of another version of Valve ({older}): stop every valve process"
    )
    ready = httpx.get(f"{sidecar.admin}/readyz")
    assert (ready.status_code, refused in ready.text) == (503, True)
    assert "valve_gated 0.0" in httpx.get(f"{sidecar.admin}/metrics").text
    answer = valve(stage.runtime_dir, "run", "--device", "cpu", "--", "true")
    assert (answer.returncode, refused in answer.stderr) == (1, True)


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a small file system")
def test_a_full_runtime_directory_leaves_online_alone(stage: Stage, tmp_path: Path) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16k,mode=0700", "tmpfs", tmp_path], check=True)
    try:
        (tmp_path / "filler").write_bytes(b"x" * 12_000)
        sidecar = stage.sidecar("--runtime-dir", str(tmp_path))
        answers_online(sidecar.listen, stage)
        assert "is full" in httpx.get(f"{sidecar.admin}/readyz").text
        answer = valve(tmp_path, "run", "--device", "cpu", "--", "true")
        assert answer.returncode == 1
        assert "is full" in answer.stderr
        assert sidecar.end() == 0
    finally:
        subprocess.run(["umount", "-l", tmp_path], check=True)


def test_what_is_not_inference_passes_and_does_not_preempt(stage: Stage) -> None:
    sidecar = stage.sidecar()
    assert httpx.get(f"{sidecar.listen}/health").json() == {"status": "ok"}
    assert httpx.get(f"{sidecar.listen}/v1/models").status_code == 200
    assert sidecar.events("close") == []
    assert sidecar.state()["counters"]["passed_through"] == 2


def test_the_admin_endpoint(stage: Stage) -> None:
    sidecar = stage.sidecar()
    answers_online(sidecar.listen, stage)
    wait_until(lambda: sidecar.state()["gate"] == "open", "drained")
    metrics = httpx.get(f"{sidecar.admin}/metrics").text
    assert "valve_gate_closes_total 1.0" in metrics
    assert 'valve_requests_total{outcome="completed"} 1.0' in metrics
    assert httpx.get(f"{sidecar.admin}/readyz").status_code == 200
    assert httpx.get(f"{sidecar.admin}/events?since=x").status_code == 400
