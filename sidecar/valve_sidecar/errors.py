"""Everything that the sidecar raises on purpose; the command line prints the message and exits with
`exit_code`.
"""

from __future__ import annotations


class SidecarError(Exception):
    """Names the thing and the mend, in one line for a person."""

    exit_code = 1


class ConfigError(SidecarError):
    """A configuration key or value is not usable."""

    exit_code = 2


class ListenError(SidecarError):
    """The sidecar cannot listen where it was told to."""
