"""Owns the sender's place among other processes: ahead of them, where the system lets it."""

import contextlib
import ctypes
import os
from collections.abc import Iterator

PR_SET_TIMERSLACK, PR_GET_TIMERSLACK = 29, 30
SLACK_NS = 1_000
_libc = ctypes.CDLL(None, use_errno=True)


@contextlib.contextmanager
def ahead_of_others() -> Iterator[bool]:
    """Runs this thread under SCHED_FIFO meanwhile, if it may, and with timers that are not rounded.

    Gives whether it may: that takes CAP_SYS_NICE or a limit on real-time priority above 0. Without, whoever
    else computes on the core delays sends, which the schedule lag then shows.
    """
    slack_ns = _libc.prctl(PR_GET_TIMERSLACK)
    policy, parameters = os.sched_getscheduler(0), os.sched_getparam(0)
    _libc.prctl(PR_SET_TIMERSLACK, SLACK_NS)
    may = _enter_fifo()
    try:
        yield may
    finally:
        if may:
            os.sched_setscheduler(0, policy, parameters)
        _libc.prctl(PR_SET_TIMERSLACK, slack_ns)


def _enter_fifo() -> bool:
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    except OSError:
        return False
    return True
