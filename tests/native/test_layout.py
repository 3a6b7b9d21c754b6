"""The binding's structures are as large as those in C."""

import ctypes

import pytest

from valve_sidecar import native

from .probe import size_of

STRUCTURES = (
    native.Request,
    native.Calls,
    native.PlaneOptions,
    native.IntakeStats,
    native.IntakeOptions,
    native.Series,
    native.Event,
)


@pytest.mark.parametrize("which", range(len(STRUCTURES)), ids=[kind.__name__ for kind in STRUCTURES])
def test_sizes(which: int) -> None:
    assert ctypes.sizeof(STRUCTURES[which]) == size_of(which)


def test_every_kind_of_error_has_a_name() -> None:
    assert len(native.error_kinds()) == native.ERROR_KINDS
