"""The ledger from Python: shares, views, what is left by the dead, what is refused."""

import multiprocessing
import os
from multiprocessing.synchronize import Event
from pathlib import Path

import pytest

from valve_runtime.errors import SegmentError
from valve_runtime.ledger import Ledger, Party, ledgers

GPU = "GPU-fa000000-0000-0000-0000-000000000007"


def test_shares_bound_what_each_side_leases(tmp_path: Path) -> None:
    with Ledger.open(tmp_path, GPU) as ledger:
        online = Party.register(ledger, "online", "chat", 10, start_pages=4)
        tenant = Party.register(ledger, "tenant", "batch", 20)
        assert len(online.lease(10)) == 4
        assert len(tenant.lease(20)) == 6  # what is not reserved
        view = ledger.read()
        assert (view.limit, view.reserved, view.online, view.tenants, view.free) == (10, 4, 4, 6, 0)
        ledger.set_reserved(2)
        assert tenant.lease(5) == []  # online has not given back yet
        online.release()
        assert len(tenant.lease(5)) == 2
        tenant.release()


def test_a_view_names_every_party(tmp_path: Path) -> None:
    with Ledger.open(tmp_path, GPU) as ledger:
        tenant = Party.register(ledger, "tenant", "batch", 20)
        tenant.lease(3)
        with Ledger.open(tmp_path, GPU, observe=True) as observer:
            (party,) = observer.read().parties
        assert (party.row, party.role, party.name, party.alive) == (tenant.row, "tenant", "batch", True)
        assert (party.pid, party.pool_pages, party.leased, party.arriving) == (os.getpid(), 20, 3, 0)
        tenant.release()
        assert ledger.read().parties == ()


def _lease_and_hang(directory: Path, ready: Event) -> None:
    ledger = Ledger.open(directory, GPU)
    Party.register(ledger, "tenant", "batch", 8).lease(8)
    ready.set()
    multiprocessing.Event().wait()


def test_pages_of_the_dead_are_swept(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    ready = context.Event()
    victim = context.Process(target=_lease_and_hang, args=(tmp_path, ready), daemon=True)
    victim.start()
    assert ready.wait(60)
    with Ledger.open(tmp_path, GPU) as ledger:
        assert ledger.sweep() == 0
        victim.kill()
        victim.join()
        assert ledger.read().tenants == 8
        assert ledger.sweep() == 8
        assert ledger.read().free == 8


def test_an_observer_changes_nothing(tmp_path: Path) -> None:
    Ledger.open(tmp_path, GPU).close()
    with (
        Ledger.open(tmp_path, GPU, observe=True) as observer,
        pytest.raises(SegmentError, match="read only"),
    ):
        observer.set_reserved(1)


def test_no_ledger_is_told_as_such(tmp_path: Path) -> None:
    with pytest.raises(SegmentError, match="no node segment"):
        Ledger.open(tmp_path, GPU, observe=True)


def test_ledgers_are_found_by_device(tmp_path: Path) -> None:
    Ledger.open(tmp_path, GPU).close()
    (tmp_path / "pages.strange").touch()
    assert ledgers(tmp_path) == [GPU]
