"""The pool table as the engine's side maps it, and what is refused."""

from array import array
from pathlib import Path

import pytest

from valve_adapters.blocks.errors import TableError
from valve_adapters.blocks.table import PoolTable, is_leased, table_of_environment


def made(path: Path, pages: int = 3, magic: bytes = b"VLVPOOL1", version: int = 1) -> Path:
    header = magic + array("I", [version, 4096, pages]).tobytes()
    path.write_bytes(header.ljust(128, b"\0") + array("I", [1] * pages + [0] * pages).tobytes())
    return path


def test_what_is_read_and_told(tmp_path: Path) -> None:
    path = made(tmp_path / "table")
    table = PoolTable(path)
    assert (table.page_bytes, table.pages, table.epoch) == (4096, 3, 0)
    assert table.words() == array("I", [1, 1, 1]).tobytes()
    table.want(9)
    table.tell(7, array("I", [5, 0, 6]))
    assert list(array("I", path.read_bytes()))[17:19] == [7, 3]
    assert list(array("I", path.read_bytes()))[-3:] == [5, 0, 6]


def test_what_the_pool_changes_is_seen(tmp_path: Path) -> None:
    path = made(tmp_path / "table")
    table = PoolTable(path)
    with path.open("r+b") as file:
        file.seek(64)
        file.write(array("I", [1]).tobytes())
    assert table.epoch == 1


@pytest.mark.parametrize("damage", ["missing", "empty", "short", "magic", "version"])
def test_another_file_is_refused(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "table"
    if damage != "missing":
        made(path, magic=b"VLVPOOL2" if damage == "magic" else b"VLVPOOL1", version=1 + (damage == "version"))
    if damage in ("empty", "short"):
        path.write_bytes(path.read_bytes()[: 0 if damage == "empty" else 140])
    with pytest.raises(TableError, match=str(path)):
        PoolTable(path)


def test_without_a_pool_there_is_no_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VALVE_POOL", raising=False)
    assert not is_leased()
    with pytest.raises(TableError, match="valve run --kv-pool"):
        table_of_environment()
    monkeypatch.setenv("VALVE_POOL", str(made(tmp_path / "table")))
    assert is_leased()
    assert table_of_environment().pages == 3
