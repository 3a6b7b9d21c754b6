"""Ahead of others while sending, and as before afterwards."""

import os

import pytest

from valve_loadgen.priority import ahead_of_others


def test_the_policy_is_real_time_only_meanwhile() -> None:
    before = os.sched_getscheduler(0)
    with ahead_of_others() as may:
        assert (os.sched_getscheduler(0) == os.SCHED_FIFO) is may
    assert os.sched_getscheduler(0) == before


def test_without_the_right_all_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_arguments: object) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "sched_setscheduler", refuse)
    with ahead_of_others() as may:
        assert may is False
