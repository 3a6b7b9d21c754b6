"""Owns precise waiting: a timerfd on CLOCK_MONOTONIC, since event loops round to a millisecond."""

import asyncio
import ctypes
import os
import time

TFD_NONBLOCK, TFD_CLOEXEC = 0o4000, 0o2000000
TFD_TIMER_ABSTIME = 1


class _Timespec(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


class _Itimerspec(ctypes.Structure):
    _fields_ = (("interval", _Timespec), ("value", _Timespec))


_libc = ctypes.CDLL(None, use_errno=True)


class Alarm:
    """One waiter's timer; to be closed."""

    def __init__(self) -> None:
        self._fd: int = _libc.timerfd_create(time.CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC)
        if self._fd < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create failed")

    def close(self) -> None:
        os.close(self._fd)

    async def until(self, at_ns: int) -> None:
        """Returns at CLOCK_MONOTONIC `at_ns`, or at once if that is past."""
        if at_ns <= time.monotonic_ns():
            return
        self._set(at_ns)
        rung = asyncio.Event()
        loop = asyncio.get_running_loop()
        loop.add_reader(self._fd, rung.set)
        try:
            await rung.wait()
        finally:
            loop.remove_reader(self._fd)

    def _set(self, at_ns: int) -> None:
        value = _Itimerspec(_Timespec(0, 0), _Timespec(*divmod(at_ns, 1_000_000_000)))
        if _libc.timerfd_settime(self._fd, TFD_TIMER_ABSTIME, ctypes.byref(value), None):
            raise OSError(ctypes.get_errno(), "timerfd_settime failed")
