"""Turns an errno of the node segment into an error that names the file and the mend."""

from __future__ import annotations

import ctypes
import errno
import os
from pathlib import Path

from . import native
from .errors import SegmentError, SegmentFullError

_NO_PERMISSION = (errno.EACCES, errno.EPERM)
_MAGICS = {"holders": native.HOLDERS_MAGIC, "tenants": native.TENANTS_MAGIC}
_SIZES = {"holders": ctypes.sizeof(native.HoldersFile), "tenants": ctypes.sizeof(native.TenantsFile)}


def open_error(directory: Path, code: int) -> SegmentError:
    """The error for vlv_node_open() = -code."""
    if code not in _NO_PERMISSION and not os.path.isdir(directory):  # noqa: PTH112 (never raises)
        return SegmentError(f"{directory} is not a directory: create it or give another --runtime-dir")
    faulty = _faulty_file(directory, code)
    versions = _versions(faulty) if code == errno.EPROTONOSUPPORT else ""
    other_dir, stop = "give another --runtime-dir", "stop every valve process here, then remove it"
    texts = {
        errno.ENOENT: f"no node segment in {directory}: nothing of Valve has run there yet",
        errno.EACCES: f"no permission for {faulty}: run as its owner, or {other_dir}",
        errno.EPERM: f"no permission for {faulty}: run as its owner, or {other_dir}",
        errno.EROFS: f"{directory} is read-only: {other_dir}",
        errno.ENOSPC: f"the disk of {directory} is full: free 1 MB there, or {other_dir}",
        errno.EDQUOT: f"the quota for {directory} is used up: free 1 MB, or {other_dir}",
        errno.EPROTO: f"{faulty} is damaged or not Valve's: {stop}",
        errno.EPROTONOSUPPORT: f"{faulty} is of another version of Valve{versions}: {stop}",
        errno.ESTALE: f"{faulty} is from before the last boot: `valve serve` or `valve run` will replace it",
        errno.EXDEV: f"{faulty} is of another time namespace, where clocks differ: run all of Valve in one",
        errno.EBUSY: f"{directory} stays locked by another process: try again",
    }
    return SegmentError(texts.get(code, f"cannot use {faulty}: {os.strerror(code)}"))


def register_error(file: Path, code: int) -> SegmentError:
    """The error for vlv_holder_register() or vlv_tenant_register() = -code."""
    if code == errno.ENOSPC:
        return SegmentFullError(
            f"no free row or device entry in {file}: stop some of those that `valve status` lists"
        )
    texts = {
        errno.EINVAL: f"{file} cannot take that many devices in a row: give at least one, at most "
        f"{native.DEVICES_MAX} to a sidecar and {native.TENANT_DEVICES_MAX} to a job",
        errno.EPERM: f"{file} was opened to be read only: open the node segment with the side that registers",
        errno.EBUSY: f"{file} stays locked by another process: try again",
        errno.EMFILE: f"no file descriptor left to lock a row of {file}: raise `ulimit -n`",
    }
    return SegmentError(texts.get(code, f"cannot register in {file}: {os.strerror(code)}"))


def _faulty_file(directory: Path, code: int) -> Path:
    """Which of the two files it is about; the directory if neither stands out."""
    for name in _MAGICS:
        if _is_faulty(directory / name, name, code):
            return directory / name
    return directory


def _is_faulty(path: Path, name: str, code: int) -> bool:
    if not os.path.lexists(path):
        return False
    if code in _NO_PERMISSION:
        return not os.access(path, os.R_OK | os.W_OK)
    if path.is_symlink() or not path.is_file():
        return True
    try:
        header = _read_header(path)
    except OSError:
        return True
    wrong_version = header.layout_version != native.LAYOUT_VERSION
    damaged = header.magic != _MAGICS[name] or path.stat().st_size != _SIZES[name]
    if code == errno.EPROTO:
        return damaged or header.file_size != _SIZES[name]
    return wrong_version if code == errno.EPROTONOSUPPORT else code in (errno.ESTALE, errno.EXDEV)


def _versions(path: Path) -> str:
    """What it has and what we have, as far as it can be read."""
    try:
        header = _read_header(path)
    except OSError:
        return ""
    return f" (layout {header.layout_version}.{header.layout_minor}, not {native.LAYOUT})"


def _read_header(path: Path) -> native.Header:
    """Zeros where the file is too short."""
    size = ctypes.sizeof(native.Header)
    with path.open("rb") as file:
        return native.Header.from_buffer_copy(file.read(size).ljust(size, b"\0"))
