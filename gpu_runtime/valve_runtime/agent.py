"""The tenant's agent and its mechanism, as one thing with a beginning and an end."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterable
from pathlib import Path

from . import native
from .errors import TenantError
from .node import Node, Tenant
from .notice import say
from .shim import Unshimmed
from .tree import Process

READY_NS = 10_000_000_000


class FreezerAgent:
    """Obeys the gate from construction on. `spare` is a child of this process that is not to be stopped."""

    def __init__(self, tenant: Tenant, cgroup: Path | None, spare: int) -> None:
        """Raises TenantError."""
        self._library = native.library()
        self._freezer, self._agent = ctypes.c_void_p(), ctypes.c_void_p()
        error = self._create_freezer(cgroup, spare)
        if error < 0 and cgroup:
            say(f"cannot use {cgroup}: {os.strerror(-error)}; stopping it by signals")
            error = self._create_freezer(None, spare)
        if error < 0:
            raise TenantError(f"cannot freeze processes here: {os.strerror(-error)}; see `valve doctor`")
        mechanism, context = self._mechanism()
        error = self._library.agent_start(tenant.handle, mechanism, context, ctypes.byref(self._agent))
        if error < 0:
            raise TenantError(f"cannot start the agent's thread: {os.strerror(-error)}")

    def _create_freezer(self, cgroup: Path | None, spare: int) -> int:
        """0 or -errno. None: by signals."""
        directory = os.fsencode(cgroup) if cgroup else None
        freezer = ctypes.byref(self._freezer)
        return int(self._library.freezer_create(directory, os.getpid(), spare, freezer))

    def _mechanism(self) -> tuple[int, ctypes.c_void_p]:
        """What stops the tree, and its context. Raises TenantError."""
        return self._library.freezer_mechanism(), self._freezer

    def wait_ready(self) -> None:
        """Until what the gate says is applied: a tenant that joins while it is closed starts stopped."""
        if self._library.agent_wait_ready(self._agent, READY_NS) < 0:
            raise TenantError(
                "the new process could not be stopped although the gate is closed; see `valve doctor`"
            )

    def stop(self) -> None:
        """Lets the tree run and ends the thread."""
        self._library.agent_stop(self._agent)
        self._library.freezer_destroy(self._freezer)


class JobAgent(FreezerAgent):
    """Of a GPU job: waits for its ranks, and freezes the tree where they do not suffice."""

    def __init__(self, node: Node, tenant: Tenant, cgroup: Path | None, spare: int) -> None:
        """Raises TenantError."""
        self._node, self._job, self._unshimmed = node, ctypes.c_void_p(), Unshimmed()
        super().__init__(tenant, cgroup, spare)

    def _mechanism(self) -> tuple[int, ctypes.c_void_p]:
        node, job = self._node.opened(), ctypes.byref(self._job)
        error = self._library.job_create(node, self._freezer, os.getpid(), job)
        if error < 0:
            raise TenantError(f"cannot gate a GPU job here: {os.strerror(-error)}")
        return self._library.job_mechanism(), self._job

    def look_for_unshimmed(self, members: Iterable[Process]) -> None:
        """Whatever of the tree uses a GPU without being a rank has to be frozen; says so once."""
        ranks = (view.pid for view in self._node.tenants() if view.alive and view.runner_pid == os.getpid())
        found = self._unshimmed.look(members, ranks)
        self._unshimmed.tell_once(found)
        self._library.job_set_unshimmed(self._job, len(found))

    def stop(self) -> None:
        super().stop()
        self._library.job_destroy(self._job)
