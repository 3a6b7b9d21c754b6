"""Shares of the last minute, whoever begins to look when."""

import pytest

from valve_sidecar.minute import Minute, merge_shares

S = 1_000_000_000


def counters(second: float) -> dict[str, float]:
    return {
        "gate_closed_s": 0.5 * second,
        "drained_s": 0.8 * second,
        "harvested_s": 0.4 * second,
        "slice_s": 0.1 * max(second - 100, 0),
    }


def test_they_are_of_the_last_minute() -> None:
    minute = Minute()
    for tenth in range(2000):
        if minute.is_due(tenth * S // 10):
            minute.note(tenth * S // 10, counters(tenth / 10))
    shares = minute.shares(200 * S, counters(200))
    assert shares == pytest.approx({"closed": 0.5, "drained": 0.8, "harvested": 0.4, "sliced": 0.1})
    assert minute.shares(130 * S, counters(130)) is None


def test_at_first_they_are_of_what_there_was() -> None:
    minute = Minute()
    assert minute.is_due(5 * S)
    assert minute.shares(5 * S, counters(5)) is None
    minute.note(5 * S, counters(5))
    assert not minute.is_due(5 * S + S // 2)
    shares = minute.shares(5 * S + S // 2, counters(5.5))
    assert shares is not None
    assert shares["drained"] == pytest.approx(0.8)


def test_workers_share_their_time_but_see_the_same_tenants() -> None:
    one = {"closed": 0.2, "drained": 0.8, "harvested": 0.5, "sliced": 0.0}
    other = {"closed": 0.4, "drained": 0.6, "harvested": 0.6, "sliced": 0.2}
    merged = merge_shares([one, None, other])
    assert merged == pytest.approx({"closed": 0.3, "drained": 0.7, "harvested": 0.6, "sliced": 0.1})
    assert merge_shares([None]) is None
