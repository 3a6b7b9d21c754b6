"""Our row in the node segment, wherever it can be had."""

from __future__ import annotations

import logging
from pathlib import Path

from valve_runtime.errors import ValveRuntimeError
from valve_runtime.node import Holder, Node, Side
from valve_runtime.rundir import choose_runtime_dir

log = logging.getLogger(__name__)


class HolderSeat:
    """Our row in the node segment. Without one, calls do nothing: online traffic goes on ungated."""

    def __init__(self, directory: Path, name: str, devices: tuple[str, ...]) -> None:
        self._directory, self._name, self._devices = directory, name, devices
        self._holder: Holder | None = None
        self._removed: list[Node] = []
        self.node: Node | None = None
        self.problem = "not registered yet"
        self.refusals = 0

    def take(self) -> bool:
        """Tries to get a row; `problem` says why not. The one in a segment that was removed is kept until
        `drop_removed`: whoever acts on its handle has to change over first.
        """
        try:
            self._leave_if_removed()
            self.node = self.node or Node.open(self._directory, Side.HOLDER)
            self._holder = Holder.register(self.node, self._name, self._devices)
        except ValveRuntimeError as error:
            self.problem = str(error)
            self.refusals += 1
            return False
        self.problem = ""
        return True

    def _leave_if_removed(self) -> None:
        """Raises ValveRuntimeError if its directory is gone, too, and cannot be made again."""
        if self.node is not None and self.node.removed:
            self.problem = f"somebody removed the node segment in {self._directory}"
            log.error("%s: making it again", self.problem)
            self._removed.append(self.node)
            self.node = self._holder = None
        if self._removed:
            choose_runtime_dir(str(self._directory))

    @property
    def taken(self) -> bool:
        """False also when the segment has been removed: tenants that come now make another one."""
        return self._holder is not None and self.node is not None and not self.node.removed

    @property
    def handle(self) -> int:
        """Of the row, for native code; 0 without one."""
        return (self._holder.handle.value or 0) if self._holder else 0

    def close_gate(self) -> int:
        return self._holder.close_gate() if self._holder else 0

    def open_gate(self) -> int:
        return self._holder.open_gate() if self._holder else 0

    def renew(self) -> bool:
        """True if the lease had lapsed."""
        return self._holder.renew() if self._holder else False

    def set_in_flight(self, count: int) -> None:
        if self._holder:
            self._holder.set_in_flight(count)

    def drop_removed(self) -> None:
        for node in self._removed:
            node.close()
        self._removed.clear()

    def leave(self) -> None:
        if self._holder:
            self._holder.release()
            self._holder = None
        if self.node:
            self.node.close()
            self.node = None
        self.drop_removed()
