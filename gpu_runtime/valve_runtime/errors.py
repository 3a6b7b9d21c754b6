"""Everything that the runtime raises on purpose."""

from __future__ import annotations


class ValveRuntimeError(Exception):
    """Names the thing and the mend, in one line for a person."""

    exit_code = 1


class SegmentError(ValveRuntimeError):
    """The node segment cannot be used (missing, foreign, truncated, another version, no space, no
    permission).
    """


class SegmentFullError(SegmentError):
    """No free row is left."""


class DeviceError(ValveRuntimeError):
    """A device does not exist or cannot be used."""

    exit_code = 2


class TenantError(ValveRuntimeError):
    """The command cannot be run as a tenant."""
