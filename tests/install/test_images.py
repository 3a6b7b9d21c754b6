"""The images, run as a cluster would run them: any user, a read-only root, no capability."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import httpx
import pytest
from tests.integration.stage import ScriptedEngine, wait_until

from .environment import DIST, wheel

VERSION = wheel().name.split("-")[1]
LIMIT_BYTES = 250e6  # a promise
CONFINED = ("--read-only", "--cap-drop=all", "--security-opt=no-new-privileges", "--user=12345:12345")
LIMITS = ("--ulimit=nofile=1024:1024", "--ulimit=nproc=4096:4096")  # podman's own are above some machines'
IMAGES = ("valve-sidecar", "valve-carrier")
HERE = ("podman", "--runtime=runc", "--cgroup-manager=cgroupfs")
RUN = (*HERE, "run", "--rm", "--pull=never", "--network=host", *LIMITS, *CONFINED)

pytestmark = pytest.mark.skipif(
    any(shutil.which(program) is None for program in ("podman", "runc")), reason="podman or runc is missing"
)


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    """A runtime directory of the containers' user's."""
    folder = tmp_path / "run"
    folder.mkdir(mode=0o700)
    shutil.chown(folder, 12345, 12345)
    return folder


def image(name: str) -> str:
    return f"localhost/{name}:{VERSION}"


@pytest.mark.parametrize("name", IMAGES)
def test_size_and_user(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    inspect = [*HERE, "image", "inspect", image(name)]
    (told,) = json.loads(subprocess.run(inspect, capture_output=True, check=True).stdout)
    with capsys.disabled():
        print(f"\n{name}: {told['Size'] / 1e6:.0f} MB")
    assert told["Size"] < LIMIT_BYTES
    assert told["Config"]["User"] == "65532:65532"


@pytest.mark.parametrize("name", IMAGES)
def test_bill_of_materials(name: str) -> None:
    content = json.loads((DIST / f"{name}.cdx.json").read_text())
    names = {component["name"] for component in content["components"]}
    assert {"orjson", "httpx"} <= names
    assert ("libc6" in names) == (name == "valve-sidecar")


def test_the_sidecar_serves(engine: ScriptedEngine, shared: Path) -> None:
    settings = {"UPSTREAM": engine.url, "LISTEN": "127.0.0.1:0", "ADMIN": "127.0.0.1:0", "DEVICE": "cpu"}
    options = [f"--env=VALVE_{key}={value}" for key, value in settings.items()]
    command = [*RUN, *options, f"--volume={shared}:/run/valve", image("valve-sidecar")]
    container = subprocess.Popen(command, text=True, stderr=subprocess.PIPE)
    assert container.stderr is not None
    line = next((line for line in container.stderr if "serving on" in line), "")
    address = line.split("serving on ")[1].split()[0]
    assert httpx.get(f"{address}/v1/models").status_code == 200
    assert wait_until(lambda: (shared / "holders").exists(), "it has a gate")
    container.terminate()
    container.communicate(timeout=60)
    assert container.returncode == 0


def test_what_is_carried_runs_on_the_python_that_is_there(tmp_path: Path, shared: Path) -> None:
    carried = tmp_path / "carried"
    carried.mkdir()
    shutil.chown(carried, 12345, 12345)
    command = [*RUN, f"--volume={carried}:/carried", image("valve-carrier"), "/carried"]
    subprocess.run(command, check=True)
    assert {path.name for path in carried.iterdir()} == {"bin", "lib"}
    bare = ["--entrypoint=/usr/bin/env", f"--volume={carried}:/opt/valve:ro", f"--volume={shared}:/run/valve"]
    job = ["PATH=/usr/bin:/bin", "/opt/valve/bin/valve", "run", "--device", "cpu", "--", "sh", "-c", "env"]
    done = subprocess.run(
        [*RUN, *bare, image("valve-sidecar"), *job], text=True, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "PYTHONPATH" not in done.stdout, "the job's environment is its own"
