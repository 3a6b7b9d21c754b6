"""How many KV pages online work uses, and how many it will need soon (pure).

Used is the most of what the engine's plug-in asks for in the ledger and of what its own gauge says. Soon is
what prompts that wait for their first token will fill: estimated from the length of their bodies, which are
not read.
"""

from __future__ import annotations

from dataclasses import dataclass

from valve_adapters.adapter import Kv

BYTES_PER_TOKEN = 4  # English text; JSON around it and other scripts make it too many rather than too few
SOON_TOKENS = 8192  # an engine takes in so many prompt tokens at a time: what waits behind them is not soon


@dataclass(frozen=True, slots=True)
class Online:
    """What is known of the online side of one device at one moment."""

    pool_pages: int  # that its pools can hold
    leased: int  # pages that they have
    wanted: int  # what a plug-in asks for; 0: nothing, or there is none
    kv: Kv | None  # the engine's gauge
    waiting_bytes: int  # bodies of requests without a first token


class Demand:
    """Remembers only whether anybody tells: else every page that online work has counts as used."""

    def __init__(self) -> None:
        self._told = False

    def used(self, online: Online) -> int:
        """Pages in use or waited for."""
        self._told = self._told or online.wanted > 0 or online.kv is not None
        if not self._told:
            return online.leased
        return max(online.wanted, _by_gauge(online))

    def soon(self, online: Online) -> int:
        """Pages that prompts will fill; 0 where the engine does not tell how much its cache holds."""
        if online.kv is None or not online.kv.tokens:
            return 0
        tokens = min(online.waiting_bytes // BYTES_PER_TOKEN, SOON_TOKENS)
        return -(-tokens * online.pool_pages // online.kv.tokens)


def _by_gauge(online: Online) -> int:
    """Blocks without pages are withheld from the engine: to its gauge they are as good as used."""
    if online.kv is None:
        return 0
    return max(0, online.leased - int(online.kv.free * online.pool_pages))
