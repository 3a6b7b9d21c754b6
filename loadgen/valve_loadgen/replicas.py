"""Owns a small fleet: replicas of online engine, sidecar and offline engine, and load balancers before them.

Each replica is a device of its own: a share of the engines' core, and a node segment that no other one sees.
"""

import asyncio
import contextlib
import shutil
import sys
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import orjson

from valve_loadgen.client import Client
from valve_loadgen.cpu_group import limited, quota
from valve_loadgen.cpus import cores
from valve_loadgen.engines import llamacpp
from valve_loadgen.errors import BenchError
from valve_loadgen.lab import Lab, free_port, healthy
from valve_loadgen.offline import OfflineDriver
from valve_loadgen.processes import ready
from valve_loadgen.target import Target

LLAMACPP, TIMED = "llamacpp", "timed"
KINDS = {LLAMACPP: "llamacpp", TIMED: "vllm"}  # whose adapter the sidecar uses: that of an engine on a GPU
OFFLINE_PARALLEL = 4
ROUND_ROBIN, PACK_FIRST = "round_robin", "pack_first"
BALANCE = {ROUND_ROBIN: "roundrobin", PACK_FIRST: "first"}
CONFIGURATION = Path(__file__).parent / "peers/spread.cfg"


@dataclass(frozen=True)
class Replica:
    """`gated` is its sidecar, `driver` keeps its offline engine busy."""

    online: Target
    gated: Target
    admin: Client
    driver: OfflineDriver

    async def counters(self) -> dict[str, float]:
        """The sidecar's, of its state; with `gate`: 1 if that is open."""
        status, body = await self.admin.get("/state")
        if status != 200:
            raise BenchError(f"the sidecar at {self.gated} tells no state: {body[:200]!r}")
        state = orjson.loads(body)
        return {**state["counters"], "open": float(state["gate"] == "open"), "tenants": len(state["tenants"])}


@dataclass(frozen=True)
class Sizes:
    """How many replicas, each a share of the engines' core, and how many requests each takes at once."""

    replicas: int
    slots: int
    engine: str
    cooldown_ms: float


@dataclass(frozen=True)
class Site:
    """Where one replica's processes run: what precedes its engines' commands, and its own segment."""

    number: int
    prefix: tuple[str, ...]
    runtime: Path

    def name(self, role: str) -> str:
        return f"{role}-{self.number}"


@contextlib.asynccontextmanager
async def fleet(lab: Lab, sizes: Sizes) -> AsyncIterator[list[Replica]]:
    """Starts every replica; the lab ends its processes with this context. Raises BenchError."""
    with contextlib.ExitStack() as groups:
        sites = [
            Site(number, groups.enter_context(_share(number, sizes.replicas)), _segment(lab, number))
            for number in range(sizes.replicas)
        ]
        try:
            yield [await _replica(lab, site, sizes) for site in sites]
        finally:
            lab.processes.close()  # the groups can be removed only when they are empty


def _share(number: int, replicas: int) -> contextlib.AbstractContextManager[tuple[str, ...]]:
    return limited(f"replica-{number}", quota(1 / replicas))


def _segment(lab: Lab, number: int) -> Path:
    directory = lab.processes.scratch / f"replica-{number}"
    directory.mkdir(mode=0o700)
    return directory


async def _replica(lab: Lab, site: Site, sizes: Sizes) -> Replica:
    online = await _engine(lab, site, sizes)
    offline = await _offline(lab, site)
    gated, admin = await _sidecar(lab, site, online, sizes)
    return Replica(online, gated, admin, OfflineDriver(offline, OFFLINE_PARALLEL))


async def _engine(lab: Lab, site: Site, sizes: Sizes) -> Target:
    target = Target(port=free_port())
    if sizes.engine == TIMED:
        command = [sys.executable, "-m", "valve_loadgen.timed_engine", "--port", str(target.port)]
        child = lab.start(site.name("online"), command, lab.placement.others)
    else:
        command = [*_llamacpp(lab, site, target.port), "--parallel", str(sizes.slots)]
        child = lab.start(site.name("online"), command, None)
    await ready(child, lambda: healthy(target))
    return target


async def _offline(lab: Lab, site: Site) -> Target:
    target = Target(port=free_port())
    run = [
        sys.executable,
        "-m",
        "valve_sidecar",
        "run",
        "--runtime-dir",
        str(site.runtime),
        "--job",
        "offline",
    ]
    command = [*run, "--", *_llamacpp(lab, site, target.port)]
    child = lab.start(site.name("offline"), command, lab.placement.others)
    await ready(child, lambda: healthy(target))
    return target


def _llamacpp(lab: Lab, site: Site, port: int) -> list[str]:
    on = cores(lab.placement.engines)
    return [*site.prefix, "taskset", "-c", on, *llamacpp(port, 1, on)]


async def _sidecar(lab: Lab, site: Site, online: Target, sizes: Sizes) -> tuple[Target, Client]:
    gated, socket = Target(port=free_port()), site.runtime / "admin.sock"
    command = [sys.executable, "-m", "valve_sidecar", "serve", "--upstream", str(online), "--device", "cpu"]
    command += [
        "--listen",
        f"127.0.0.1:{gated.port}",
        "--admin",
        f"unix:{socket}",
        "--engine",
        KINDS[sizes.engine],
    ]
    command += ["--runtime-dir", str(site.runtime), "--cooldown-ms", f"{sizes.cooldown_ms:g}"]
    child = lab.start(site.name("sidecar"), command, lab.placement.others)
    await ready(child, lambda: healthy(gated))
    return gated, Client(Target(path=str(socket)))


async def balancer(lab: Lab, arm: str, replicas: Sequence[Replica], slots: int) -> Target:
    """HAProxy before the sidecars, as `arm` says. Raises BenchError where there is none."""
    if shutil.which("haproxy") is None:
        raise BenchError("haproxy is not installed (Debian: apt install haproxy)")
    target, file = Target(port=free_port()), lab.processes.scratch / f"{arm}.cfg"
    file.write_text(configuration(arm, target.port, [each.gated.port for each in replicas], slots))
    child = lab.start(arm, ["haproxy", "-f", str(file)], lab.placement.others)
    await ready(child, lambda: healthy(target))
    return target


def configuration(arm: str, port: int, servers: Sequence[int], slots: int) -> str:
    """HAProxy's file. Slots matter to pack-first alone: round robin never waits for one."""
    limit = f" maxconn {slots}" if arm == PACK_FIRST else ""
    lines = (f"  server replica{i} 127.0.0.1:{server}{limit}" for i, server in enumerate(servers))
    places = {"PORT": str(port), "BALANCE": BALANCE[arm], "SERVERS": "\n".join(lines)}
    text = CONFIGURATION.read_text()
    for place, value in places.items():
        text = text.replace(f"@{place}@", value)
    return text


async def settled(replicas: Sequence[Replica], timeout_s: float = 30.0) -> None:
    """Waits until every gate is open. Raises BenchError."""
    async with asyncio.timeout(timeout_s):
        while True:
            if all([(await each.counters())["open"] for each in replicas]):
                return
            await asyncio.sleep(0.05)


def check_tenants(counters: Sequence[dict[str, float]]) -> None:
    """Raises BenchError where a sidecar sees another number of tenants than its own one."""
    for number, told in enumerate(counters):
        if told["tenants"] != 1:
            raise BenchError(f"sidecar {number} sees {told['tenants']:g} tenants instead of its own one")
