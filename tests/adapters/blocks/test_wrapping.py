"""How an engine's methods are wrapped: the order of looking and doing, and what is refused."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from valve_adapters.blocks.errors import UnsupportedError
from valve_adapters.blocks.wrapping import (
    landing,
    launching,
    lifting,
    refuse_set,
    refuse_unless,
    within,
)


class Scheduler:
    """Its own leases; `seen` is what happens in what order."""

    def __init__(self) -> None:
        self.seen: list[object] = []
        self.leases = self

    @launching
    def schedule(self, size: int) -> list[int]:
        self.seen.append("schedule")
        return [size]

    @landing
    def update(self, _step: list[int], results: str) -> str:
        self.seen.append("update")
        return results

    @lifting
    def reset(self) -> None:
        self.seen.append("reset")

    def sync(self) -> None:
        self.seen.append("sync")

    def launched(self, step: int) -> None:
        self.seen.append(("launched", step))

    def landed(self, step: int) -> None:
        self.seen.append(("landed", step))

    @contextlib.contextmanager
    def lifted(self) -> Iterator[None]:
        self.seen.append("lifted")
        yield
        self.seen.append("held")


def test_it_looks_before_it_schedules_and_before_it_believes() -> None:
    scheduler = Scheduler()
    step = scheduler.schedule(3)
    assert scheduler.update(step, "results") == "results"
    launched, landed = ("launched", id(step)), ("landed", id(step))
    assert scheduler.seen == ["sync", "schedule", launched, "sync", landed, "update"]


def test_a_reset_sees_the_whole_pool() -> None:
    scheduler = Scheduler()
    scheduler.reset()
    assert scheduler.seen == ["lifted", "reset", "held"]


def test_only_the_tag_is_ours() -> None:
    context = within(lambda _self, tag: f"theirs: {tag}", "kv_cache", lambda _self: "ours")
    assert context(None, "weights") == "theirs: weights"
    assert context(None, "kv_cache") == context(None, tag="kv_cache") == "ours"


def test_what_is_refused_is_named() -> None:
    config = SimpleNamespace(connector=None, tp_size=2)
    refuse_set(config, "connector")
    refuse_unless(config, connector=None)
    with pytest.raises(UnsupportedError, match="tp_size=2"):
        refuse_unless(config, tp_size=1)
    with pytest.raises(UnsupportedError, match="with tp_size"):
        refuse_set(config, "connector", "tp_size")
