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
from .handed import adopt
from .lifecycle import Signals
from .listener import Listener
from .logs import log_like_a_service
from .worker import Worker


@dataclass(frozen=True, slots=True)
class Order:
    """What a member is told: the merged configuration, its number, where its admin socket goes, on which
    descriptors it listens.
    """

    config: ServeConfig
    number: int
    admin: str
    listen: tuple[int, ...]

    def encode(self) -> str:
        return orjson.dumps(self).decode()

    @classmethod
    def decode(cls, text: str) -> Order:
        content = orjson.loads(text)
        values = content["config"] | {
            "mode": Mode(content["config"]["mode"]),
            "device": tuple(content["config"]["device"]),
        }
        return cls(ServeConfig(**values), content["number"], content["admin"], tuple(content["listen"]))


async def run_worker(worker: Worker, admin: AdminServer) -> None:
    """Serves until told to stop, or to retire, or until the supervisor is gone."""
    signals = Signals()
    loop = asyncio.get_running_loop()
    loop.add_reader(sys.stdin.fileno(), signals.stop.set)  # its end: the supervisor is gone
    await admin.start()
    try:
        await signals.until_stop(worker.start())
        if await signals.next() is signals.succeed:
            await signals.until_stop(worker.retire())
        loop.remove_reader(sys.stdin.fileno())
        await worker.drain()
    finally:
        await admin.stop()


def main() -> None:
    order = Order.decode(sys.argv[1])
    log_like_a_service(order.config.log_level)
    listener = Listener(Address.parse(order.config.listen), given=[adopt(fd) for fd in order.listen])
    devices = resolve(order.config.device)
    worker = Worker(order.config, Path(order.config.runtime_dir), devices, listener, order.number)
    admin = AdminServer(Address.parse(order.admin), worker.sources)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(run_worker(worker, admin))
    except SidecarError as error:
        sys.exit(f"valve serve: worker {order.number}: {error}")


if __name__ == "__main__":
    main()
