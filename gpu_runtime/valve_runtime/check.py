"""What one look of `valve doctor` found."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    OK = "ok"
    NOTE = "note"  # works, could be better
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was tried. `mend` is empty if there is nothing to do."""

    name: str
    verdict: Verdict
    found: str
    mend: str = ""
