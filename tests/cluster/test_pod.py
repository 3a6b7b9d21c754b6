"""Both variants of the chart as real Pods: sidecar, real online engine, and a real offline one under it."""

import asyncio
import re
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from valve_loadgen.lab import free_port
from valve_loadgen.offline import OfflineDriver
from valve_loadgen.target import Target

from .chart import Object, pod_of, rendered
from .pod import VALVE, build_image, flattened, load_images, missing, played, podman, unbuilt

ENGINE = ["python3", "-m", "valve_loadgen.engine"]
START_S = 120.0
REQUESTS = 6


@dataclass(frozen=True)
class Colocation:
    """Ports on 127.0.0.1, and the containers' names."""

    http: int
    admin: int
    offline: int
    sidecar: str
    tenant: str
    valve: dict[str, list[str]]
    """The command in each."""

    def metric(self, name: str) -> float:
        """The sum of all series of `name`."""
        text = httpx.get(f"http://127.0.0.1:{self.admin}/metrics").text
        found = re.findall(rf"^{name}(?:{{.*}})? (\S+)$", text, re.MULTILINE)
        assert found, f"no {name} in the sidecar's metrics"
        return sum(map(float, found))

    async def complete(self, tokens: int) -> None:
        """A request through the sidecar, with its answer."""
        url, body = f"http://127.0.0.1:{self.http}/v1/completions", {"prompt": "Once", "max_tokens": tokens}
        async with httpx.AsyncClient(timeout=START_S) as client:
            (await client.post(url, json=body)).raise_for_status()

    def answers(self) -> bool:
        """Both engines and a tenant are there."""
        try:
            found = [httpx.get(f"http://127.0.0.1:{port}/health") for port in (self.http, self.offline)]
            return all(each.is_success for each in found) and self.metric("valve_tenants") > 0
        except (httpx.HTTPError, AssertionError):
            return False


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(START_S):
        while True:
            if condition():
                return
            await asyncio.sleep(0.1)


def tokens(driver: OfflineDriver) -> int:
    return driver.log.between(0, time.monotonic_ns())


@pytest.fixture(scope="module", params=["one Pod", "two Pods", "built images"])
def colocation(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Colocation]:
    if reason := missing():
        pytest.skip(reason)
    build_image()
    two, built = request.param == "two Pods", request.param == "built images"
    if built and (reason := unbuilt()):
        pytest.skip(reason)
    if built:
        load_images()
    http, admin, online, offline = (free_port() for _ in range(4))
    values = {
        "online": {"command": [*ENGINE, f"--port={online}"], "args": [], "port": online},
        "offline": {
            "command": [*ENGINE, f"--port={offline}"],
            "valve": "carrier" if built else "path",
            "ownPod": two,
        },
        "gpu": {"sharing": "none"},
        "serve": {"cooldown_ms": 50},
    }
    objects = rendered(values)
    addresses = {"0.0.0.0:8780": f"127.0.0.1:{http}", "0.0.0.0:8781": f"127.0.0.1:{admin}"}
    with tempfile.TemporaryDirectory(prefix="valve-pod-", dir="/dev/shm") as memory:
        folder = Path(memory)
        directories = {name: folder / name for name in ("valve", "tmp", "carrier")}
        for name, directory in directories.items():
            directory.mkdir()
            directory.chmod(
                0o755 if two and name == "valve" else 0o777
            )  # as kubelet makes hostPath and emptyDir
        names = ("online", "offline") if two else ("online",)
        pods = [_pod(objects, name, online, directories, addresses) for name in names]
        sidecar, tenant = f"{pods[0]['metadata']['name']}-valve", f"{pods[-1]['metadata']['name']}-offline"
        valve = {sidecar: ["valve"] if built else VALVE, tenant: ["/opt/valve/bin/valve"] if built else VALVE}
        made = Colocation(http, admin, offline, sidecar, tenant, valve)
        with played(tmp_path_factory.mktemp("pods"), *pods):
            yield made


def _pod(
    objects: list[Object],
    component: str,
    number: int,
    directories: dict[str, Path],
    addresses: dict[str, str],
) -> Object:
    return flattened(pod_of(objects, component), f"valve-{component}-{number}", directories, addresses)


async def test_online_requests_stop_the_offline_engine_and_leave_it_the_rest(colocation: Colocation) -> None:
    await until(colocation.answers)
    driver = OfflineDriver(Target(port=colocation.offline), 4)
    await driver.start()
    for _ in range(REQUESTS):
        await until(lambda: colocation.metric("valve_gate_closed") == 0)
        seen = tokens(driver)
        await until(lambda seen=seen: tokens(driver) > seen)
        await colocation.complete(16)
    await driver.stop()
    assert 1 <= colocation.metric("valve_tenant_stops_total") <= REQUESTS
    assert colocation.metric("valve_preemption_duration_seconds_count") >= 1
    assert colocation.metric("valve_gate_closes_per_request_max") == 1
    assert not driver.errors


def test_what_is_asked_inside_of_the_containers(colocation: Colocation) -> None:
    """Neither sees the other's processes; both read the same segment."""
    for container in (colocation.sidecar, colocation.tenant):
        told = podman("exec", container, *colocation.valve[container], "status")
        assert "http://127.0.0.1" in told
        assert re.search(r"^offline .* freezer", told, re.MULTILINE)
        assert podman("exec", container, "id", "-u").strip() == "65532"


async def test_a_sidecar_that_is_started_again_finds_the_tenant(colocation: Colocation) -> None:
    podman("restart", "--time=5", colocation.sidecar)
    await until(colocation.answers)
    before = colocation.metric("valve_tenant_stops_total")
    async with httpx.AsyncClient() as client:
        body = {"prompt": "Once", "max_tokens": 4}
        answer = await client.post(
            f"http://127.0.0.1:{colocation.http}/v1/completions", json=body, timeout=60
        )
    assert answer.is_success
    await until(lambda: colocation.metric("valve_tenant_stops_total") > before)


async def test_a_stopped_tenant_that_is_ended_ends_when_the_gate_opens(colocation: Colocation) -> None:
    url, body = (
        f"http://127.0.0.1:{colocation.http}/v1/completions",
        {"prompt": "Once", "max_tokens": 400, "stream": True},
    )
    async with httpx.AsyncClient(timeout=START_S) as client, client.stream("POST", url, json=body):
        await until(lambda: colocation.metric("valve_tenant_stopped") == 1)
        ending = asyncio.create_task(
            asyncio.to_thread(podman, "stop", f"--time={START_S:.0f}", colocation.tenant)
        )
    await ending
    code = podman("inspect", "--format={{.State.ExitCode}}", colocation.tenant)
    assert code.strip() == "0"
