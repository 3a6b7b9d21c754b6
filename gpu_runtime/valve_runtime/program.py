"""What a command really executes, and why a library cannot be preloaded into that.

The dynamic linker does the preloading, so a program without one, of another architecture, of another C
library or with more rights than its caller goes without. What such a program starts is not affected, as long
as it passes the environment on.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

INTERPRETERS_MAX = 5  # as the kernel
HEAD_BYTES = 4096
PT_INTERP = 3
_ELF = struct.Struct("<16sHHIQQQIHHH")  # of 64 bits, little-endian: the only ones that GPUs are used from
_SEGMENT = struct.Struct("<IIQQQQ")
_ELF64_LITTLE = b"\x7fELF\x02\x01"


@dataclass(frozen=True, slots=True)
class Obstacle:
    """`reason` completes "the shim cannot be loaded: ". `breaks`: even the attempt ends the program."""

    reason: str
    breaks: bool = False


def obstacle(command: str, preload: Path) -> Obstacle | None:
    """Why `preload` cannot be loaded into what `command` executes; None: it can, or nobody knows."""
    try:
        program = executed(command)
        return _obstacle(program, preload) if program else None
    except (OSError, ValueError, struct.error):
        return None  # not readable, or not runnable: exec will tell


def executed(command: str) -> Path | None:
    """The binary behind a command's name: found as exec does, and through `#!` lines. Raises OSError."""
    name = command
    for _ in range(INTERPRETERS_MAX):
        found = name if "/" in name else shutil.which(name)
        if found is None:
            return None
        interpreter = _interpreter(Path(found))
        if interpreter is None:
            return Path(found)
        name = interpreter
    return None


def _interpreter(path: Path) -> str | None:
    """Named by the script's first line; `env` is looked through."""
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    if not head.startswith(b"#!"):
        return None
    words = os.fsdecode(head[2:].partition(b"\n")[0]).split()
    if words and Path(words[0]).name == "env":
        words = [word for word in words[1:] if not word.startswith("-") and "=" not in word] or words
    return words[0] if words else None


def _obstacle(program: Path, preload: Path) -> Obstacle | None:
    if _gains_rights(program):
        return Obstacle(f"{program} runs with more rights than yours (setuid, setgid or file capabilities)")
    with program.open("rb") as file:
        header = file.read(_ELF.size)
        if not header.startswith(b"\x7fELF"):
            return None
        if _architecture(header) != _architecture(_head(preload)):
            return Obstacle(f"{program} is built for another architecture")
        linker = _linker(file, header)
    if linker is None:
        return Obstacle(f"{program} is statically linked")
    if "ld-musl" in linker:
        return Obstacle(f"{program} uses another C library (musl)", breaks=True)
    return None


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(_ELF.size)


def _gains_rights(program: Path) -> bool:
    """Root gains nothing by its own, nor by file capabilities."""
    found = program.stat()
    gains_user = bool(found.st_mode & stat.S_ISUID) and found.st_uid != os.getuid()
    setgid = found.st_mode & stat.S_ISGID and found.st_mode & stat.S_IXGRP
    gains_group = bool(setgid) and found.st_gid != os.getgid()
    return gains_user or gains_group or (os.getuid() != 0 and _has_capabilities(program))


def _has_capabilities(program: Path) -> bool:
    try:
        return bool(os.getxattr(program, "security.capability"))
    except OSError as error:
        if error.errno in (errno.ENODATA, errno.ENOTSUP):
            return False
        raise


def _architecture(header: bytes) -> tuple[bytes, bytes]:
    """Word size and byte order; machine."""
    return header[4:6], header[18:20]


def _linker(file: BinaryIO, header: bytes) -> str | None:
    """The dynamic linker that the program asks for."""
    if not header.startswith(_ELF64_LITTLE):
        return ""
    fields = _ELF.unpack(header)
    table, size, count = fields[5], fields[9], fields[10]
    for index in range(count):
        file.seek(table + index * size)
        kind, _, offset, _, _, length = _SEGMENT.unpack(file.read(_SEGMENT.size))
        if kind == PT_INTERP:
            file.seek(offset)
            return os.fsdecode(file.read(min(length, HEAD_BYTES)).rstrip(b"\0"))
    return None
