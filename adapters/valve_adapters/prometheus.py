"""Picks single gauges out of an engine's Prometheus text, without parsing the rest of it."""

from __future__ import annotations

import math
import re
from functools import cache


def gauges(text: bytes, name: str) -> list[float]:
    """The gauge's values, one for each set of labels; empty if it is not there. What is no number is left
    out.
    """
    values = (_number(value) for value in _sample(name).findall(text))
    return [value for value in values if math.isfinite(value)]


def total(text: bytes, name: str) -> int | None:
    """Of a gauge that counts: the sum over its labels (data-parallel ranks); None if it is not there."""
    values = gauges(text, name)
    return int(sum(values)) if values else None


def fraction(text: bytes, name: str) -> float | None:
    """Of a gauge between 0 and 1: the fullest of its labels; None if it is not there."""
    return max(gauges(text, name), default=None)


def label(text: bytes, name: str, label: str) -> str:
    """The value of one label of a metric's first sample; empty if it is not there."""
    found = _label(name, label).search(text)
    return found[1].decode(errors="replace") if found else ""


@cache
def _label(name: str, label: str) -> re.Pattern[bytes]:
    pattern = rb'^%s\{(?:[^}]*,)?%s="([^"]{0,32})"' % (re.escape(name.encode()), re.escape(label.encode()))
    return re.compile(pattern, re.MULTILINE)


@cache
def _sample(name: str) -> re.Pattern[bytes]:
    return re.compile(rb"^%s(?:\{.*\})? (\S{1,32})" % re.escape(name.encode()), re.MULTILINE)


def _number(digits: bytes) -> float:
    try:
        return float(digits)
    except ValueError:
        return math.nan
