"""Owns what the four arms play on: two engines, the sidecar, clients and the offline driver."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from valve_loadgen.arrivals import Planned
from valve_loadgen.client import Client
from valve_loadgen.engines import ENGINES
from valve_loadgen.errors import BenchError
from valve_loadgen.lab import Lab, idle
from valve_loadgen.offline import OfflineDriver
from valve_loadgen.openloop import replay
from valve_loadgen.sidecar_admin import SidecarAdmin
from valve_loadgen.target import Target

OFFLINE_PARALLEL = 4


@dataclass(frozen=True)
class Rival:
    """A baseline's offline engine."""

    arm: str
    offline: Target
    driver: OfflineDriver


@dataclass(frozen=True)
class Budgeted:
    """A sidecar with policy budget before the same online engine."""

    slo_tpot_ms: float
    client: Client
    admin: SidecarAdmin


@dataclass(frozen=True)
class Stage:
    """`direct` reaches the online engine itself, `gated` through the sidecar; `kinds` name both engines."""

    lab: Lab
    kinds: tuple[str, str]
    online: Target
    offline: Target
    direct: Client
    gated: Client
    driver: OfflineDriver
    rivals: tuple[Rival, ...] = ()
    budgeted: "Budgeted | None" = None

    @classmethod
    async def build(
        cls,
        lab: Lab,
        serve_options: Sequence[str],
        kinds: tuple[str, str],
        rivals: Mapping[str, Sequence[str]] | None = None,
    ) -> "Stage":
        """Starts everything; `kinds`: the online and the offline engine. Raises BenchError.

        `rivals`: prefixes of the baselines' engines, by name; these share the online engine's session.
        """
        online, others = await _start_online(lab, kinds, rivals or {})
        offline = await lab.start_engine("offline", 1, True, engine=kinds[1])
        proxy = await lab.start_sidecar(online, *_known(kinds[0]), *serve_options)
        if not (await lab.state())["tenants"]:
            raise BenchError(
                "the sidecar sees no tenant: do `valve run` and `valve serve` share a directory?"
            )
        driver = OfflineDriver(offline, OFFLINE_PARALLEL)
        return cls(lab, kinds, online, offline, Client(online), Client(proxy), driver, others)

    async def with_budget(self, slo_tpot_ms: float) -> "Stage":
        """The same stage with another sidecar. Raises BenchError."""
        admin = self.lab.admin_of("budget")
        options = ("--policy", "budget", "--slo-tpot-ms", f"{slo_tpot_ms:g}")
        proxy = await self.lab.start_sidecar(
            self.online, *_known(self.kinds[0]), *options, name="budget", admin=admin
        )
        return replace(self, budgeted=Budgeted(slo_tpot_ms, Client(proxy), admin))

    def driver_of(self, arm: str) -> OfflineDriver:
        """What keeps that arm's offline engine busy."""
        return next((rival.driver for rival in self.rivals if rival.arm == arm), self.driver)

    async def warm_up(self, plans: Sequence[Planned]) -> None:
        """Sends `plans` one by one both ways, and saturates the offline engine once. Raises BenchError."""
        for name, client in (("direct", self.direct), ("gated", self.gated)):
            for plan in plans:
                alone = Planned(plan.name, 0, plan.prompt, plan.output_tokens)
                (done,) = await replay(client, [alone], time.monotonic_ns(), f"warm-{name}-")
                if not done.ok:
                    raise BenchError(f"a warm-up request failed ({name}): {done.error or done.status}")
        for driver in (self.driver, *(rival.driver for rival in self.rivals)):
            await driver.start()
            await driver.stop()

    async def settle(self) -> None:
        """Waits until nothing computes and the gate is open."""
        await self.lab.wait_for("between windows", "gate", "open")
        if self.budgeted:
            await self.budgeted.admin.wait_for("between windows", "gate", "open")
        for target, kind in zip((self.online, self.offline), self.kinds, strict=True):
            await idle(target, ENGINES[kind])
        for rival in self.rivals:
            await idle(rival.offline, ENGINES[self.kinds[1]])

    def close(self) -> None:
        self.direct.close()
        self.gated.close()
        if self.budgeted:
            self.budgeted.client.close()
            self.budgeted.admin.close()


def _known(kind: str) -> tuple[str, ...]:
    return "--engine", ENGINES[kind].served_as, "--device", "cpu"


async def _start_online(
    lab: Lab, kinds: tuple[str, str], rivals: Mapping[str, Sequence[str]]
) -> tuple[Target, tuple[Rival, ...]]:
    if not rivals:
        return await lab.start_engine("online", engine=kinds[0]), ()
    members = [(kinds[0], ()), *((kinds[1], prefix) for prefix in rivals.values())]
    online, *others = await lab.start_together("online", members)
    return online, tuple(
        Rival(f"shared_{name}", target, OfflineDriver(target, OFFLINE_PARALLEL))
        for name, target in zip(rivals, others, strict=True)
    )
