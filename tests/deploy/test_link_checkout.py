"""A checkout's link into an environment says what it has put there, so that a wheel can take its place."""

from importlib.metadata import distribution
from pathlib import Path


def test_all_that_it_has_made_is_recorded() -> None:
    files = distribution("valve-sidecar").files
    assert files
    assert {Path(str(file)).name for file in files} >= {"valve", "valve-checkout.pth", "RECORD"}
    assert all(Path(str(file.locate())).exists() for file in files)
