"""How an engine's own methods are wrapped to look at the pool: the same for every engine."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from .errors import UnsupportedError

Method = Callable[..., Any]


def launching(schedule: Method) -> Method:
    """Of the method that schedules a step and returns it. `self.leases` looks first."""

    @functools.wraps(schedule)
    def leased(self: Any, *arguments: Any, **keywords: Any) -> Any:
        self.leases.sync()
        step = schedule(self, *arguments, **keywords)
        self.leases.launched(id(step))
        return step

    return leased


def landing(update: Method) -> Method:
    """Of the method that takes a step and its results."""

    @functools.wraps(update)
    def leased(self: Any, step: Any, *arguments: Any, **keywords: Any) -> Any:
        self.leases.sync()
        self.leases.landed(id(step))
        return update(self, step, *arguments, **keywords)

    return leased


def lifting(method: Method) -> Method:
    """Of a method that wants to see every block free that no request owns."""

    @functools.wraps(method)
    def leased(self: Any, *arguments: Any, **keywords: Any) -> Any:
        with self.leases.lifted():
            return method(self, *arguments, **keywords)

    return leased


def within(method: Method, tag: str, ours: Method) -> Method:
    """Of a method that yields the context for what an argument, its tag, names. For `tag` it is ours."""

    @functools.wraps(method)
    def leased(self: Any, *arguments: Any, **keywords: Any) -> Any:
        if tag in (*arguments, *keywords.values()):
            return ours(self)
        return method(self, *arguments, **keywords)

    return leased


def refuse(found: bool, what: str) -> None:
    """Raises UnsupportedError if the engine is set up like that."""
    if found:
        raise UnsupportedError(
            f"no block can be lost safely with {what}: change that, or run without --kv-pool"
        )


def refuse_set(config: Any, *names: str) -> None:
    """Raises UnsupportedError if any of the configuration's fields is set."""
    for name in names:
        refuse(getattr(config, name) is not None, name)


def refuse_unless(config: Any, **wanted: object) -> None:
    """Raises UnsupportedError if a field of the configuration has another value."""
    for name, value in wanted.items():
        found = getattr(config, name)
        refuse(found != value, f"{name}={found!r} (only {value!r})")
