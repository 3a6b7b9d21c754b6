"""The binding: finds its library, refuses another layout, says what to do."""

import ctypes
from pathlib import Path

import pytest

import valve_runtime
from valve_runtime import native
from valve_runtime.errors import SegmentError


def test_the_library_lies_in_the_package() -> None:
    path = native.find_library()
    assert path.name == "libvalve.so"
    assert str(path.parent) in valve_runtime.__path__


def test_every_place_of_a_split_package_is_searched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An editable install keeps Python files and the library in different places."""
    library = tmp_path / "second" / "libvalve.so"
    library.parent.mkdir()
    library.touch()
    monkeypatch.setattr(valve_runtime, "__path__", [str(tmp_path / "first"), str(library.parent)])
    assert native.find_library() == library


def test_a_missing_library_says_how_to_build_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(valve_runtime, "__path__", [str(tmp_path)])
    with pytest.raises(SegmentError, match=rf"no libvalve.so in {tmp_path}: run `make native`"):
        native.find_library()


def test_a_file_that_is_no_library_says_how_to_build_it(tmp_path: Path) -> None:
    broken = tmp_path / "libvalve.so"
    broken.write_bytes(b"not an ELF file")
    with pytest.raises(SegmentError, match=r"cannot load .*libvalve.so: .*; run `make native`"):
        native.Library(broken)


def test_a_library_without_our_functions_is_refused() -> None:
    with pytest.raises(SegmentError, match=r"lacks vlv_layout.*run `make native`"):
        native.Library(Path("libc.so.6"))


@pytest.mark.parametrize("field", ["closed", "name", "lapses"])
def test_a_field_that_moved_is_noticed(field: str, monkeypatch: pytest.MonkeyPatch) -> None:
    class Shifted(ctypes.Structure):
        _fields_ = (
            ("new", ctypes.c_uint64),
            *native.HolderRow._fields_[:-1],
            ("reserved", ctypes.c_uint8 * (native.HolderRow.reserved.size - 8)),
        )

    assert ctypes.sizeof(Shifted) == ctypes.sizeof(native.HolderRow)
    assert getattr(Shifted, field).offset != getattr(native.HolderRow, field).offset
    monkeypatch.setitem(native.STRUCTURES, "vlv_holder_row", Shifted)
    with pytest.raises(SegmentError, match=r"another layout of vlv_holder_row\.owner_pid; run `make native`"):
        native.Library(native.find_library())


def test_a_field_that_we_do_not_know_is_noticed() -> None:
    assert native._ours("vlv_holder_row.invented") == (-1, -1)
    assert native._ours("vlv_invented") == (-1, -1)
