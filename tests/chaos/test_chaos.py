"""A short part of the chaos suite: all casts, real processes, real faults, from a fixed seed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from .run import run

pytestmark = pytest.mark.integration
SEED = 20261125
FAULTS = 20  # of each cast
PATIENCE = 10.0  # on a machine with much else to do


@pytest.mark.skipif(os.geteuid() != 0, reason="faults need root: cgroups, mounts, other processes' limits")
def test_no_promise_is_broken(tmp_path: Path) -> None:
    report = run(SEED, FAULTS, 45, slow=False, histories=tmp_path, patience=PATIENCE)
    assert report["violations"] == []
    assert report["faults"] >= 12
    assert report["outcomes"]["exact"] > report["faults"]
    assert report["stops"] > report["faults"]
    assert report["movements"] > 1000
