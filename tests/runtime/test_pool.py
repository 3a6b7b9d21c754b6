"""The pool table from Python: counts of losses, what the engine says, foreign files."""

from pathlib import Path

import pytest

from valve_runtime.errors import SegmentError
from valve_runtime.pool import PoolTable


def test_a_loss_is_seen_whether_or_not_the_page_is_back(tmp_path: Path) -> None:
    with PoolTable.make(tmp_path / "pool", 4) as pool, PoolTable.open(tmp_path / "pool") as engine:
        pool.back(0, 1)
        before, epoch = list(engine.words), engine.epoch
        pool.lose(1)
        pool.back(1)
        assert engine.epoch == epoch + 2
        assert engine.words[0] == before[0]
        assert engine.words[1] >> 1 == (before[1] >> 1) + 1
        assert engine.words[1] & 1
        assert engine.backed == 2


def test_counts_wrap(tmp_path: Path) -> None:
    with PoolTable.make(tmp_path / "pool", 1) as pool:
        pool.words[0] = 0xFFFFFFFF
        pool.lose(0)
        assert pool.words[0] == 0


def test_the_engine_says_what_it_knows_and_wants(tmp_path: Path) -> None:
    with PoolTable.make(tmp_path / "pool", 2) as pool:
        pool.say(seen=pool.epoch, wanted=2)
        pool.costs[1] = 77
        with PoolTable.open(tmp_path / "pool") as other:
            assert other.wanted == 2
            assert list(other.costs) == [0, 77]


def test_what_is_no_pool_table_is_refused(tmp_path: Path) -> None:
    (tmp_path / "short").write_bytes(b"VLVPOOL1")
    (tmp_path / "foreign").write_bytes(bytes(4096))
    for name in ("short", "foreign"):
        with pytest.raises(SegmentError, match="no pool table"):
            PoolTable.open(tmp_path / name)
    with pytest.raises(SegmentError, match="cannot use"):
        PoolTable.open(tmp_path / "absent")
    with pytest.raises(SegmentError, match="cannot make"):
        PoolTable.make(tmp_path / "short", 1)
