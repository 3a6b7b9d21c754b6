"""Chooses the runtime directory: where the node segment and the recovery records lie.

A given directory > VALVE_RUNTIME_DIR > /run/valve if it can be made or used > $XDG_RUNTIME_DIR/valve >
/dev/shm/valve-UID. Everything in it is on memory, so it does not outlive the boot.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import Path

from .errors import ValveRuntimeError

SYSTEM = Path("/run/valve")
SHARED = Path("/dev/shm")
ROOT = 0


def choose_runtime_dir(given: str | None = None, environment: Mapping[str, str] | None = None) -> Path:
    """The directory, made if need be (mode 0700). Raises ValveRuntimeError naming it and the mend."""
    environment = os.environ if environment is None else environment
    wanted = given or environment.get("VALVE_RUNTIME_DIR")
    if wanted:
        return _use(Path(wanted).absolute(), None)
    ours = os.geteuid()
    if os.access(SYSTEM if SYSTEM.is_dir() else SYSTEM.parent, os.W_OK):
        return _use(SYSTEM, {ROOT, ours})
    session = environment.get("XDG_RUNTIME_DIR")
    if session:
        return _use(Path(session) / "valve", {ROOT, ours})
    return _use(SHARED / f"valve-{ours}", {ours})


def _use(directory: Path, owners: set[int] | None) -> Path:
    """`owners`: whose it may be; None if the user named it."""
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = directory.lstat()
    except OSError as error:
        raise ValveRuntimeError(
            f"cannot use the runtime directory {directory}: {error.strerror}; "
            "give another one by --runtime-dir or VALVE_RUNTIME_DIR"
        ) from error
    _check(directory, found)
    if not (found.st_uid in owners if owners else _shared_with_us(found)):
        raise ValveRuntimeError(
            f"the runtime directory {directory} belongs to user {found.st_uid}; join its group and name it, "
            "or name another one, by --runtime-dir or VALVE_RUNTIME_DIR"
        )
    return directory


def _shared_with_us(found: os.stat_result) -> bool:
    """Root may use everybody's: in containers it is a user's directory that is mounted."""
    ours = os.geteuid()
    return (
        ours in (ROOT, found.st_uid)
        or found.st_uid == ROOT
        or found.st_gid in {os.getegid(), *os.getgroups()}
    )


def _check(directory: Path, found: os.stat_result) -> None:
    """Not everyone may write to it: whoever can change the segment rules the gate."""
    if not stat.S_ISDIR(found.st_mode):
        raise ValveRuntimeError(
            f"the runtime directory {directory} is a link or not a directory; name another one"
        )
    if found.st_mode & stat.S_IWOTH:
        raise ValveRuntimeError(
            f"everyone may write to the runtime directory {directory}; chmod it to 0770 or 0700"
        )
    if not os.access(directory, os.R_OK | os.X_OK):
        raise ValveRuntimeError(
            f"no permission for the runtime directory {directory}; join its group or name another"
        )
