"""Writes sidecar events by hand: short forms for the tests of what is computed from them."""

from typing import Any


def request(name: str, arrival_ns: int, finished_ns: int, **more: Any) -> dict[str, Any]:
    return {
        "kind": "request",
        "t_ns": finished_ns,
        "request_id": name,
        "readable_ns": arrival_ns - 10,
        "arrival_ns": arrival_ns,
        "first_token_ns": arrival_ns + 5,
        "finished_ns": finished_ns,
        **more,
    }


def close(generation: int, name: str, at_ns: int) -> dict[str, Any]:
    return {"kind": "close", "t_ns": at_ns, "generation": generation, "request_id": name}


def opened(generation: int, at_ns: int) -> dict[str, Any]:
    return {"kind": "open", "t_ns": at_ns, "generation": generation}


def stopped(generation: int, at_ns: int, row: int = 0) -> dict[str, Any]:
    return _told("stopped", generation, at_ns, row)


def resumed(generation: int, at_ns: int, row: int = 0) -> dict[str, Any]:
    return _told("resumed", generation, at_ns, row)


def _told(kind: str, generation: int, at_ns: int, row: int) -> dict[str, Any]:
    return {
        "kind": kind,
        "t_ns": at_ns,
        "generation": generation,
        "row": row,
        "pid": 100 + row,
        "woken_ns": at_ns - 2,
        "mechanism": "freezer_signal",
    }
