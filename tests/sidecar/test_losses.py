"""Which reclaim a tenant's loss of pages answers, and that each is told once."""

from dataclasses import replace
from typing import Any

from valve_runtime.ledger import LedgerView, PartyView
from valve_sidecar.losses import Losses

MS = 1_000_000
RECLAIM = {"kind": "reclaim", "t_ns": 100 * MS, "pages": 8, "readable_ns": 90 * MS, "trace_id": "t"}


def party(**changes: Any) -> PartyView:
    counted = dict.fromkeys(("reclaims", "reclaimed", "stops", "received", "made", "errors"), 0)
    times = dict.fromkeys(("reclaim_ns", "stopped_ns", "reclaimed_at_ns"), 0)
    at_first = PartyView(
        row=1, pid=9, alive=True, role="tenant", name="batch", pool_pages=20, leased=9, arriving=0,
        **counted, **times,
    )  # fmt: skip
    return replace(at_first, **changes)


def view(*parties: PartyView) -> LedgerView:
    return LedgerView("GPU-0", 20, 0, 0, 0, 0, 0, 0, parties)


LOST = party(reclaims=3, reclaimed=8, reclaim_ns=5 * MS, stopped_ns=2 * MS, reclaimed_at_ns=110 * MS)


def test_a_loss_is_told_once_with_its_cause() -> None:
    losses = Losses()
    assert list(losses.look(view(party(reclaims=2, reclaimed=3)))) == []
    losses.decided(RECLAIM)
    (told,) = losses.look(view(LOST))
    assert (told["kind"], told["t_ns"], told["noticed_ns"]) == ("reclaimed", 110 * MS, 105 * MS)
    assert (told["job"], told["pages"], told["stopped_ns"]) == ("batch", 5, 2 * MS)
    assert (told["decided_ns"], told["readable_ns"], told["trace_id"]) == (100 * MS, 90 * MS, "t")
    assert "span_id" not in told
    assert list(losses.look(view(LOST))) == []


def test_what_was_lost_before_the_first_look_is_not_told() -> None:
    assert list(Losses().look(view(LOST))) == []


def test_a_successor_in_the_row_begins_anew() -> None:
    losses = Losses()
    list(losses.look(view(LOST)))
    assert list(losses.look(view(party(pid=10)))) == []
    (told,) = losses.look(view(replace(LOST, pid=10)))
    assert (told["pid"], told["pages"]) == (10, 8)
    assert "decided_ns" not in told, "nobody here decided it"


def test_a_loss_without_a_date_of_its_own_is_not_told() -> None:
    """As a pool of layout 2.0 has them: it leaves what the row's last owner wrote, or nothing."""
    losses = Losses()
    list(losses.look(view(party(reclaims=2, reclaimed_at_ns=50 * MS))))
    assert list(losses.look(view(replace(LOST, reclaimed_at_ns=50 * MS)))) == []


def test_what_an_online_engine_gives_back_is_no_loss() -> None:
    losses = Losses()
    list(losses.look(view(party(role="online"))))
    assert list(losses.look(view(replace(LOST, role="online")))) == []
