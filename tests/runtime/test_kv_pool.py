"""What `valve run --kv-pool` sets up: sizes, tables and who made them, what the shim is told."""

import os
from pathlib import Path

import pytest

from valve_runtime import kv_pool
from valve_runtime.errors import DeviceError
from valve_runtime.kv_pool import PoolOptions, pages_of
from valve_runtime.namespace import own_pid_namespace
from valve_runtime.pool import PoolTable
from valve_runtime.tree import start_ticks

GPU = "GPU-fa000000-0000-0000-0000-000000000000"


@pytest.mark.parametrize(
    ("text", "pages"),
    [
        ("24GiB", 12288),
        ("24g", 12288),
        ("1.5 GiB".replace(" ", ""), 768),
        ("512M", 256),
        ("3MiB", 2),
        ("1", 1),
        ("256GiB", 131072),
    ],
)
def test_sizes_are_rounded_up_to_pages(text: str, pages: int) -> None:
    assert pages_of(text) == pages


@pytest.mark.parametrize("text", ["", "much", "-1GiB", "1GiX", "GiB", "1e9"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="write 24GiB"):
        pages_of(text)


@pytest.mark.parametrize("text", ["0", "257GiB", "9T"])
def test_sizes_that_no_pool_can_have_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not between"):
        pages_of(text)


def test_a_pool_lies_on_one_gpu() -> None:
    kv_pool.check_devices((GPU,))
    kv_pool.check_devices(("cpu", GPU))
    with pytest.raises(DeviceError, match="the CPU: name one by --gpu"):
        kv_pool.check_devices(("cpu",))
    with pytest.raises(DeviceError, match="2 GPUs"):
        kv_pool.check_devices((GPU, GPU.replace("fa", "fb")))


def test_a_table_is_there_for_as_long_as_its_maker(tmp_path: Path) -> None:
    table = kv_pool.make_table(tmp_path, PoolOptions(3))
    with PoolTable.open(table) as pool:
        assert pool.pages == 3
    namespace, ticks = own_pid_namespace(), start_ticks(os.getpid())
    dead = tmp_path / f"pool.{namespace}.{os.getpid()}.{ticks + 1}"
    elsewhere = tmp_path / f"pool.{namespace + 1}.{os.getpid()}.{ticks + 1}"
    strange = tmp_path / "pool.strange"
    for path in (dead, elsewhere, strange):
        path.touch()
    kv_pool.remove_stale_tables(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {table.name, elsewhere.name, strange.name}


def test_the_shim_is_told_all_it_needs(tmp_path: Path) -> None:
    told = kv_pool.environment(PoolOptions(8, 4, online=True), tmp_path / "table")
    assert told["VALVE_POOL"] == str(tmp_path / "table")
    assert (told["VALVE_POOL_ROLE"], told["VALVE_POOL_START"]) == ("online", "4")
    assert Path(told["VALVE_SHIM"]).is_file()
