"""One of several workers: `python -m valve_sidecar.member ORDER`, started by the supervisor and by nobody
else.
"""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass
from pathlib import Path

import orjson
import uvloop

from valve_runtime.devices import resolve

from .address import Address
from .admin import AdminServer
from .config import Mode, ServeConfig
from .errors import SidecarError
from .lifecycle import stop_event
from .logs import log_like_a_service
from .worker import Worker


@dataclass(frozen=True, slots=True)
class Order:
    """What a member is told: the merged configuration, its number, where its admin socket goes."""

    config: ServeConfig
    number: int
    admin: str

    def encode(self) -> str:
        return orjson.dumps(self).decode()

    @classmethod
    def decode(cls, text: str) -> Order:
        content = orjson.loads(text)
        values = content["config"] | {
            "mode": Mode(content["config"]["mode"]),
            "device": tuple(content["config"]["device"]),
        }
        return cls(ServeConfig(**values), content["number"], content["admin"])


async def run_worker(worker: Worker, admin: AdminServer, ready: asyncio.Event, *, member: bool) -> None:
    """Serves until told to stop, then drains. The admin is up first, so that probes see a start that takes
    long. A member of several stops with its supervisor, too.
    """
    stop = stop_event()
    if member:
        asyncio.get_running_loop().add_reader(sys.stdin.fileno(), stop.set)  # its end: the supervisor is gone
    await admin.start()
    try:
        await worker.start(reuse_port=member)
        ready.set()
        await stop.wait()
        if member:
            asyncio.get_running_loop().remove_reader(sys.stdin.fileno())
        await worker.drain()
    finally:
        await admin.stop()


def main() -> None:
    order = Order.decode(sys.argv[1])
    log_like_a_service(order.config.log_level)
    worker = Worker(order.config, Path(order.config.runtime_dir), resolve(order.config.device), order.number)
    admin = AdminServer(Address.parse(order.admin), worker.sources)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(run_worker(worker, admin, asyncio.Event(), member=True))
    except SidecarError as error:
        sys.exit(f"valve serve: worker {order.number}: {error}")


if __name__ == "__main__":
    main()
