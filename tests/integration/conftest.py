"""A fresh stage per test, in a runtime directory of its own on memory."""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from valve_runtime.cgroup import Cgroup, CgroupUnavailableError, own_cgroup

from .run_job import GateKeeper, Job
from .stage import Stage


@pytest.fixture
def stage() -> Iterator[Stage]:
    directory = Path(
        tempfile.mkdtemp(prefix="valve-test-", dir="/dev/shm" if Path("/dev/shm").is_dir() else None)
    )
    made = Stage(directory)
    try:
        yield made
    finally:
        made.close()
        shutil.rmtree(directory, ignore_errors=True)


def cgroup_works() -> bool:
    try:
        with Cgroup.create("test-0"):
            return True
    except CgroupUnavailableError:
        return False


@pytest.fixture(params=["cgroup", "signal"])
def way(request: pytest.FixtureRequest) -> str:
    """Either freezer."""
    if request.param == "cgroup" and not cgroup_works():
        pytest.skip("no cgroup v2 can be made here")
    return str(request.param)


@pytest.fixture
def start_job(tmp_path: Path, way: str) -> Iterator[Callable[..., Job]]:
    """Starts commands under `valve run` in one runtime directory and ends them all."""
    jobs: list[Job] = []

    def start(*command: str, **options: Any) -> Job:
        jobs.append(Job(tmp_path, way, *command, **options))
        return jobs[-1]

    try:
        yield start
    finally:
        for job in jobs:
            job.end()


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[GateKeeper]:
    keeper = GateKeeper(tmp_path)
    try:
        yield keeper
    finally:
        keeper.end()


@pytest.fixture
def cgroups() -> Callable[[], set[Path]]:
    """The tenants' cgroups that exist."""

    def listed() -> set[Path]:
        try:
            return set(own_cgroup().glob("valve-*"))
        except CgroupUnavailableError:
            return set()

    return listed
