"""Starts the tenant's command behind a barrier, with the guardian between it and `valve run`.

    valve run ── guardian ── command ── ...

Both `valve run` and the guardian are subreapers, so whichever of them is killed, the other still has the
whole tree below it and needs no marks to find it. The command belongs to its caller's session, process group
and terminal; the guardian leaves them. Forks before any thread of ours runs.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import resource
import signal
import struct
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

GO = b"g"
EXIT_NOT_FOUND = 127
EXIT_NOT_EXECUTABLE = 126
EXIT_ABANDONED = 125  # `valve run` ended before it let the command begin
REPORT = struct.Struct("=i")
PR_SET_CHILD_SUBREAPER = 36
SOURCE_ROOT = Path(__file__).resolve().parent.parent

SignalMask = set[int | signal.Signals]


@dataclass(frozen=True, slots=True)
class Family:
    """The command's process and the guardian's. As long as we live `_life_fd` stays open."""

    main_pid: int
    guardian_pid: int
    _barrier_fd: int
    _life_fd: int
    _report_fd: int

    def release(self) -> None:
        """Lets the command begin."""
        with contextlib.suppress(BrokenPipeError):
            os.write(self._barrier_fd, GO)
        os.close(self._barrier_fd)

    def main_status(self) -> int | None:
        """The command's wait status as the guardian, which is its parent, took it. To be asked when the
        guardian has ended; None if it had not got that far.
        """
        text = os.read(self._report_fd, REPORT.size)
        return int(REPORT.unpack(text)[0]) if len(text) == REPORT.size else None


def become_subreaper() -> None:
    """From now on orphans below this process become its children."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def allow_descriptors() -> None:
    """To signal a tree, a descriptor per process is needed. Only for us: a command may rely on its limit."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def spawn(command: list[str], environment: dict[str, str], mask: SignalMask, record: str) -> Family:
    """Forks guardian and command; the command begins at `release` with the signal mask `mask`. `record` is
    for the guardian. Raises OSError.
    """
    become_subreaper()
    barrier_read, barrier_write = os.pipe()
    life_read, life_write = os.pipe()
    report_read, report_write = os.pipe()
    guardian_pid = os.fork()
    if guardian_pid == 0:
        os.close(barrier_write)
        os.close(life_write)
        _found_family(command, environment, mask, record, barrier_read, life_read, report_write)
    for fd in (barrier_read, life_read, report_write):
        os.close(fd)
    return Family(_reported_pid(report_read), guardian_pid, barrier_write, life_write, report_read)


def _reported_pid(report_fd: int) -> int:
    """The command's pid as the guardian tells it. Raises OSError, if need be the guardian's."""
    text = os.read(report_fd, REPORT.size)
    if len(text) < REPORT.size:
        raise OSError(errno.ECHILD, "the guardian died at its start")
    (number,) = REPORT.unpack(text)
    if number < 0:
        raise OSError(-number, os.strerror(-number))
    return int(number)


def _found_family(
    command: list[str],
    environment: dict[str, str],
    mask: SignalMask,
    record: str,
    barrier_fd: int,
    life_fd: int,
    report_fd: int,
) -> NoReturn:
    try:
        become_subreaper()
        main_pid = _fork_or_report(report_fd)
        if main_pid == 0:
            _become_command(command, environment, mask, barrier_fd)
        os.write(report_fd, REPORT.pack(main_pid))
        _become_guardian(record, main_pid, life_fd, report_fd)
    finally:
        os._exit(1)


def _fork_or_report(report_fd: int) -> int:
    try:
        return os.fork()
    except OSError as error:
        os.write(report_fd, REPORT.pack(-(error.errno or errno.EAGAIN)))
        raise


def _become_command(
    command: list[str], environment: dict[str, str], mask: SignalMask, barrier_fd: int
) -> NoReturn:
    """Python's own handlers and ignored signals must not be inherited, nor act before exec."""
    try:
        if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
            signal.signal(signal.SIGINT, signal.SIG_DFL)
        for number in (signal.SIGPIPE, signal.SIGXFSZ):
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        if os.read(barrier_fd, 1) != GO:
            os._exit(EXIT_ABANDONED)
        os.execvpe(command[0], command, environment)
    except OSError as error:
        text = f"valve run: cannot run {command[0]!r}: {error.strerror}\n"
        with contextlib.suppress(OSError):
            os.write(2, text.encode(errors="surrogateescape"))
        missing = isinstance(error, (FileNotFoundError, NotADirectoryError))
        os._exit(EXIT_NOT_FOUND if missing else EXIT_NOT_EXECUTABLE)
    finally:
        os._exit(EXIT_NOT_EXECUTABLE)


def _become_guardian(record: str, main_pid: int, life_fd: int, report_fd: int) -> NoReturn:
    """It keeps standard error, to tell of its work, and lets go of everything else that the command shares
    with its caller: nobody shall wait for the end of a pipe because of us.
    """
    os.setsid()
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(null, 1)
    kept = {0, 1, 2, life_fd, report_fd}
    for fd in [int(name) for name in os.listdir("/proc/self/fd") if int(name) not in kept]:  # noqa: PTH208
        with contextlib.suppress(OSError):
            os.close(fd)
    os.set_inheritable(life_fd, True)
    os.set_inheritable(report_fd, True)
    arguments = [record, str(main_pid), str(life_fd), str(report_fd)]
    # -P: a file of the user's in the working directory must not pass for a module of ours.
    program = [sys.executable, "-P", "-m", "valve_runtime.guardian", *arguments]
    path = os.pathsep.join([str(SOURCE_ROOT), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
    os.execve(sys.executable, program, os.environ | {"PYTHONPATH": path})
