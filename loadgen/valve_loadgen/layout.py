"""Owns who shares a core with whom in `valve bench proxy`: a proxy's figures depend on it."""

from dataclasses import dataclass

from valve_loadgen.cpus import Placement, cores

LAYOUTS = {
    "own": "the proxies have a core to themselves, the clients share the backend's",
    "beside": "the clients share the proxies' core, the backend has the other",
}


@dataclass(frozen=True)
class Layout:
    """The proxies' cores are this process's as well."""

    name: str
    backend: frozenset[int]
    clients: frozenset[int]
    proxies: frozenset[int]

    def __str__(self) -> str:
        on = (f"{who} on core {cores(cpus)}" for who, cpus in self.places())
        return f"layout {self.name}: {', '.join(on)}"

    def places(self) -> tuple[tuple[str, frozenset[int]], ...]:
        return ("backend", self.backend), ("clients", self.clients), ("proxies", self.proxies)


def lay_out(name: str, placement: Placement) -> Layout:
    """`name`: one of LAYOUTS."""
    clients = placement.others if name == "beside" else placement.engines
    return Layout(name, placement.engines, clients, placement.others)
