"""A tenant's row in the node segment; in another one when somebody has removed that."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from .errors import SegmentFullError, TenantError
from .node import Node, Side, Tenant
from .rundir import choose_runtime_dir


@dataclass(frozen=True, slots=True)
class TenantIdentity:
    """Who takes the row. `max_stopped_ns`: 0 = it may stay stopped for ever."""

    runtime_dir: Path
    job: str
    rank: int
    devices: tuple[str, ...]
    max_stopped_ns: int


class TenantSeat:
    """`node` and `tenant` are good until `take_again` or the context's end."""

    def __init__(self, identity: TenantIdentity) -> None:
        """Raises SegmentError, DeviceError, and TenantError if there is no free row."""
        self._identity = identity
        self._moving = threading.Lock()
        try:
            self.node, self.tenant = self._take()
        except SegmentFullError as error:
            raise TenantError(f"cannot gate {identity.job}, so it was not started: {error}") from error

    def _take(self) -> tuple[Node, Tenant]:
        node = Node.open(self._identity.runtime_dir, Side.TENANT)
        try:
            return node, self._register(node)
        except BaseException:
            node.close()
            raise

    def _register(self, node: Node) -> Tenant:
        who = self._identity
        tenant = Tenant.register(node, who.job, who.rank, who.devices)
        tenant.set_max_stopped(who.max_stopped_ns)
        return tenant

    @property
    def removed(self) -> bool:
        """Sidecars that notice it, or come now, make another segment: in this one nobody gates us."""
        return self.node.removed

    def take_again(self) -> Node:
        """Takes a row in the segment that is there by now, or makes one. Returns the former segment, to be
        closed when no agent obeys it any more. Raises SegmentError, SegmentFullError, DeviceError; then
        nothing has changed.
        """
        choose_runtime_dir(str(self._identity.runtime_dir))
        node, tenant = self._take()
        with self._moving:
            former, self.node, self.tenant = self.node, node, tenant
        return former

    def set_tokens(self, generated: int, of_prompts: int) -> None:
        """As Tenant's; any thread may call it."""
        with self._moving:
            self.tenant.set_tokens(generated, of_prompts)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.node.close()
