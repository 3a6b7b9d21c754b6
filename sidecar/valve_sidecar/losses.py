"""Notices what tenants had to give back, and tells which reclaim and which request that answers (pure)."""

from __future__ import annotations

from collections.abc import Iterator

from valve_runtime.ledger import LedgerView, PartyView

from .events import Record

CAUSE = ("readable_ns", "trace_id", "span_id")  # of the request that a reclaim is for


class Losses:
    """Of one device: `look` at each view of its ledger, `decided` when a reclaim is."""

    def __init__(self) -> None:
        self._seen: dict[tuple[int, int], PartyView] = {}  # by row and pid
        self._reclaim: Record = {}  # the last one

    def decided(self, reclaim: Record) -> None:
        self._reclaim = reclaim

    def look(self, view: LedgerView) -> Iterator[Record]:
        """A `reclaimed` event for each tenant that has lost pages since the last look, and says when: a pool
        of layout 2.0 does not.
        """
        tenants = {(party.row, party.pid): party for party in view.parties if party.role == "tenant"}
        self._seen = {key: self._seen.get(key, party) for key, party in tenants.items()}
        for key, party in tenants.items():
            before = self._seen[key]
            if party.reclaims > before.reclaims and party.reclaimed_at_ns > before.reclaimed_at_ns:
                self._seen[key] = party
                yield self._lost(view.device, party, party.reclaimed - before.reclaimed)

    def _lost(self, device: str, party: PartyView, pages: int) -> Record:
        record = {
            "kind": "reclaimed",
            "t_ns": party.reclaimed_at_ns,
            "noticed_ns": party.reclaimed_at_ns - party.reclaim_ns,
            "stopped_ns": party.stopped_ns,
            "device": device,
            "job": party.name,
            "pid": party.pid,
            "pages": pages,
        }
        if not self._reclaim:  # somebody else's, before we were here
            return record
        cause = {key: self._reclaim[key] for key in CAUSE if key in self._reclaim}
        return record | {"decided_ns": self._reclaim["t_ns"]} | cause
