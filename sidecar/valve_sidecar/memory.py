"""Keeps each device's reservation of KV pages: reads the ledger, asks the policy, stores its answer.

It does so in a thread of its own: nothing of it is on a request's way. Without a ledger, which
`valve run --kv-pool` makes, it does nothing. Of several sidecars and workers on a device the first one
decides, by a lock on the ledger; the others only look.
"""

from __future__ import annotations

import dataclasses
import fcntl
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from valve_adapters.adapter import Kv
from valve_runtime.errors import ValveRuntimeError
from valve_runtime.ledger import Ledger, LedgerView, ledger_path, ledgers

from .demand import Demand, Online
from .events import Record
from .losses import Losses
from .reservation import Reserve

log = logging.getLogger(__name__)

LOOK_NS = 20_000_000  # a change of the ledger is looked at sooner
REST_S = 0.002  # between two looks
FIND_S = 2.0  # how often new ledgers are looked for
EVENTS = 1_000  # kept until they are collected


class Keeper:
    """One device's ledger and its policy."""

    def __init__(
        self,
        directory: Path,
        device: str,
        policy: Callable[[int], Reserve],
        store: bool,
        newest: Callable[[], Record] = dict,
    ) -> None:
        """`policy` makes one that starts from so many pages; `newest`: as front.Front's. Raises
        ValveRuntimeError, OSError.
        """
        self._lock = os.open(ledger_path(directory, device), os.O_RDONLY | os.O_CLOEXEC)
        try:
            self.ledger = Ledger.open(directory, device, observe=not store)
        except ValveRuntimeError:
            os.close(self._lock)
            raise
        self._make, self._store, self._newest = policy, store, newest
        self._policy: Reserve | None = None
        self._demand, self._losses = Demand(), Losses()
        self._reserved = 0
        self.told: Record = {}

    def close(self) -> None:
        self.ledger.close()
        os.close(self._lock)

    def look(self, now_ns: int, kv: Kv | None, waiting_bytes: int) -> Iterable[Record]:
        """One round; the events that it makes."""
        view = self.ledger.read()
        if self._policy is None and self._store and self._take_lock():
            self._policy, self._reserved = self._make(view.reserved), view.reserved
        if self._policy is None or not view.limit:
            self.told = _told(view)
            return []
        pools = [party.pool_pages for party in view.parties if party.alive and party.role == "online"]
        online = Online(sum(pools), view.online, view.wanted, kv, waiting_bytes)
        return [*self._losses.look(view), *self._decide(self._policy, now_ns, view, online)]

    def _decide(self, policy: Reserve, now_ns: int, view: LedgerView, online: Online) -> Iterable[Record]:
        used, soon, reclaims = self._demand.used(online), self._demand.soon(online), policy.reclaims
        before = self._reserved
        pages = policy.reserve(now_ns / 1e9, used, soon, view.tenants, view.limit)
        if pages != view.reserved:
            self.ledger.set_reserved(pages)
        self._reserved = pages
        self.told = _told(view) | {
            "decides": True,
            "reserved": pages,
            "used": used,
            "soon": soon,
            "reclaims": policy.reclaims,
            "reclaimed": policy.reclaimed,
            "refused": policy.refused,
            "reclaims_left": policy.limit.left(now_ns / 1e9),
        }
        if policy.reclaims > reclaims:
            reclaim = _event("reclaim", now_ns, view, before, self.told) | self._newest()
            self._losses.decided(reclaim)
            return [reclaim]
        return [_event("give_back", now_ns, view, before, self.told)] if pages < before else []

    def _take_lock(self) -> bool:
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


def _told(view: LedgerView) -> Record:
    return dataclasses.asdict(view) | {
        "decides": False,
        "used": 0,
        "soon": 0,
        "reclaims": 0,
        "reclaimed": 0,
        "refused": 0,
        "reclaims_left": 0,
    }


def _event(kind: str, now_ns: int, view: LedgerView, before: int, told: Record) -> Record:
    pages = abs(told["reserved"] - before)
    if kind == "reclaim":
        pages = told["reserved"] - max(before, view.limit - view.tenants)
    names = ("device", "reserved", "used", "soon", "tenants")
    return {"kind": kind, "t_ns": now_ns, "pages": pages, **{name: told[name] for name in names}}


class MemoryKeeper:
    """`start`, then `stop`. `kv`: the engine's gauge as last asked; `waiting_bytes`: asked at every look;
    `newest`: at every reclaim.
    """

    def __init__(
        self,
        directory: Path,
        devices: tuple[str, ...],
        policy: Callable[[int], Reserve],
        waiting_bytes: Callable[[], int],
        newest: Callable[[], Record] = dict,
        *,
        store: bool,
    ) -> None:
        self._directory, self._devices = directory, devices
        self._policy, self._waiting_bytes, self._store = policy, waiting_bytes, store
        self._newest = newest
        self.kv: Kv | None = None
        self._keepers: dict[str, Keeper] = {}
        self._events: deque[Record] = deque(maxlen=EVENTS)
        self._find_ns = 0
        self._failures: dict[str, str] = {}
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="valve-memory", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """The last reservation stands."""
        self._stopping.set()
        self._thread.join()

    @property
    def active(self) -> bool:
        """Whether any device has a ledger."""
        return bool(self._keepers)

    def state(self) -> list[Record]:
        """By device; docs/events.md."""
        return [keeper.told for keeper in list(self._keepers.values()) if keeper.told]

    def take_events(self) -> Iterable[Record]:
        """Those since the last time."""
        while self._events:
            yield self._events.popleft()

    def _run(self) -> None:
        while not self._stopping.is_set():
            with self._surviving("the search for ledgers"):
                self._find(time.monotonic_ns())
            self._round()
        for keeper in self._keepers.values():
            keeper.close()

    @contextmanager
    def _surviving(self, what: str) -> Iterator[None]:
        """An error that nobody expects is told once in a row; the next round tries again."""
        try:
            yield
        except Exception as error:
            if self._failures.get(what) != repr(error):
                log.exception("%s failed; what is reserved stays as it is, and it is tried again", what)
            self._failures[what] = repr(error)
        else:
            self._failures.pop(what, None)

    def _round(self) -> None:
        changes = {device: keeper.ledger.changes for device, keeper in self._keepers.items()}
        now_ns = time.monotonic_ns()
        for device, keeper in self._keepers.items():
            with self._surviving(f"the reservation of {device}"):
                self._events.extend(keeper.look(now_ns, self.kv, self._waiting_bytes()))
        if len(changes) == 1:
            [(device, seen)] = changes.items()
            self._stopping.wait(REST_S)
            self._keepers[device].ledger.wait(seen, now_ns + LOOK_NS)
        else:
            self._stopping.wait(LOOK_NS / 1e9 if changes else FIND_S)

    def _find(self, now_ns: int) -> None:
        if now_ns < self._find_ns:
            return
        self._find_ns = now_ns + int(FIND_S * 1e9)
        for device in set(ledgers(self._directory)) & set(self._devices) - set(self._keepers):
            try:
                keeper = Keeper(self._directory, device, self._policy, self._store, self._newest)
            except (ValveRuntimeError, OSError) as error:
                log.warning("cannot use the ledger of %s: %s", device, error)
            else:
                self._keepers = self._keepers | {device: keeper}
