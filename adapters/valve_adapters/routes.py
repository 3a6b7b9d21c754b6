"""Tells by its head whether a request makes an engine compute: the rule that is common to all of them."""

from __future__ import annotations

from collections.abc import Set

READING = frozenset({"GET", "HEAD", "OPTIONS", "TRACE", "DELETE"})


def computes(
    method: str, path: str, upgrade: bool, idle_routes: Set[str], idle_endings: tuple[str, ...] = ()
) -> bool:
    """Whatever is not known to be idle preempts: a route that we do not know shall cost offline work a
    little, rather than online work its latency. Upgrades preempt, reading methods never do.
    """
    if upgrade or method in READING:
        return upgrade
    route = path.rstrip("/")
    return not (route in idle_routes or route.endswith(idle_endings))
