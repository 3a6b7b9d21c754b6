"""What a hostile tenant cannot do: have somebody signalled; run while another user's freezer holds it."""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from valve_runtime import native
from valve_runtime.node import Node, Side, Tenant

from .conftest import cgroup_works
from .run_job import GateKeeper, Job
from .stage import Request, Stage, valve, wait_until

pytestmark = pytest.mark.integration
NOBODY = 65534
AS_NOBODY = ["setpriv", "--reuid", str(NOBODY), "--regid", str(NOBODY), "--clear-groups"]
COUNT = 'i=0; while :; do i=$((i+1)); echo $i > "$1"; done'


@pytest.fixture
def stranger() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["sleep", "60"]) as process:
        yield process
        process.kill()


def state_of(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def claim_to_be(tenants: Path, row: int, pid: int) -> None:
    """As a tenant can that scribbles on its own row."""
    for name in ("owner_pid", "runner_pid"):
        at = native.TenantsFile.rows.offset + row * ctypes.sizeof(native.TenantRow)
        at += getattr(native.TenantRow, name).offset
        with tenants.open("r+b") as file:
            file.seek(at)
            file.write(pid.to_bytes(8, "little"))


def test_whom_a_row_names_is_not_signalled(stage: Stage, stranger: subprocess.Popen[bytes]) -> None:
    sidecar = stage.sidecar()
    with Node.open(stage.runtime_dir, Side.TENANT) as node:
        row = Tenant.register(node, "hostile", 0, ("cpu",)).row
        claim_to_be(stage.runtime_dir / "tenants", row, stranger.pid)
        wait_until(lambda: str(stranger.pid) in str(sidecar.state()["tenants"]), "the row is seen")
        stage.engine.release.set()
        for _ in range(3):
            Request(sidecar.listen).wait_done()
        assert valve(stage.runtime_dir, "status").returncode == 0
        assert valve(stage.runtime_dir, "run", "--device", "cpu", "--", "true").returncode == 0
        assert sidecar.end() == 0
    assert (stranger.poll(), state_of(stranger.pid)) == (None, "S")


@pytest.fixture
def public() -> Iterator[Path]:
    """A file's place that the other user may write."""
    path = Path("/dev/shm" if Path("/dev/shm").is_dir() else "/tmp", f"valve-trust-{os.getpid()}")
    path.mkdir()
    os.chown(path, NOBODY, NOBODY)
    yield path
    shutil.rmtree(path)


@pytest.mark.skipif(
    os.geteuid() != 0 or not shutil.which("setpriv") or not cgroup_works(),
    reason="needs root, setpriv and a cgroup v2",
)
@pytest.mark.parametrize("way", ["cgroup"], indirect=True)
def test_a_cgroup_of_another_user_binds(
    start_job: Callable[..., Job], gate: GateKeeper, public: Path, tmp_path: Path
) -> None:
    count = public / "count"
    job = start_job(*AS_NOBODY, "sh", "-c", COUNT, "sh", str(count))
    wait_until(lambda: count.exists() and count.read_text().strip(), "it runs")
    gate.close_gate()
    job.wait_state("stopped")
    (pid,) = (pid for pid in job.processes() if Path(f"/proc/{pid}/comm").read_text() == "sh\n")
    cgroup = Path(f"/proc/{pid}/cgroup").read_text()
    before = count.read_text()
    for attempt in (f"kill -CONT {pid}", f"echo 0 > {freeze_file(cgroup)}", f"echo > {tmp_path / 'holders'}"):
        subprocess.run([*AS_NOBODY, "sh", "-c", attempt], stderr=subprocess.DEVNULL, check=False)
    os.kill(pid, signal.SIGCONT)
    time.sleep(0.1)
    assert count.read_text() == before
    gate.open_gate()
    wait_until(lambda: count.read_text().strip() not in ("", before.strip()), "it runs again")


def freeze_file(cgroup: str) -> Path:
    (path,) = (line.split("::")[1] for line in cgroup.splitlines() if line.startswith("0::"))
    mounts = Path("/proc/mounts").read_text().splitlines()
    (mount,) = {line.split()[1] for line in mounts if line.split()[2] == "cgroup2"}
    file = Path(mount + path, "cgroup.freeze")
    assert file.exists()
    return file
