"""Which version this is."""

from __future__ import annotations

from functools import cache
from importlib.metadata import PackageNotFoundError, version


@cache
def installed_version() -> str:
    try:
        return version("valve-sidecar")
    except PackageNotFoundError:
        return "0.1.0+checkout"
