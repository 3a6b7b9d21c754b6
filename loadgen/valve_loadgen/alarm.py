"""Owns precise waiting: a timerfd on CLOCK_MONOTONIC, since event loops round to a millisecond."""

import asyncio
import contextlib
import ctypes
import os
import time
from collections.abc import Callable

TFD_NONBLOCK, TFD_CLOEXEC = 0o4000, 0o2000000
TFD_TIMER_ABSTIME = 1


class _Timespec(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


class _Itimerspec(ctypes.Structure):
    _fields_ = (("interval", _Timespec), ("value", _Timespec))


_libc = ctypes.CDLL(None, use_errno=True)


class Timer:
    """Calls `ring` on the running loop at the time set last; to be closed."""

    def __init__(self, ring: Callable[[], None]) -> None:
        self._fd: int = _libc.timerfd_create(time.CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC)
        if self._fd < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create failed")
        self._ring, self._loop = ring, asyncio.get_running_loop()
        self._value = _Itimerspec()
        self._loop.add_reader(self._fd, self._rang)

    def close(self) -> None:
        self._loop.remove_reader(self._fd)
        os.close(self._fd)

    def set(self, at_ns: int) -> None:
        """Rings at CLOCK_MONOTONIC `at_ns`, soon if that is past; replaces what was set."""
        value = self._value.value
        value.seconds, value.nanoseconds = divmod(max(at_ns, 1), 1_000_000_000)
        if _libc.timerfd_settime(self._fd, TFD_TIMER_ABSTIME, ctypes.byref(self._value), None):
            raise OSError(ctypes.get_errno(), "timerfd_settime failed")

    def _rang(self) -> None:
        with contextlib.suppress(BlockingIOError):  # set anew meanwhile
            os.read(self._fd, 8)
            self._ring()


class Alarm:
    """One waiter's timer; to be closed."""

    def __init__(self) -> None:
        self._rung = asyncio.Event()
        self._timer = Timer(self._rung.set)

    def close(self) -> None:
        self._timer.close()

    async def until(self, at_ns: int) -> None:
        """Returns at CLOCK_MONOTONIC `at_ns`, or at once if that is past."""
        if at_ns <= time.monotonic_ns():
            return
        self._rung.clear()
        self._timer.set(at_ns)
        await self._rung.wait()
