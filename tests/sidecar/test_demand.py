"""What online work needs, from the plug-in's word, the engine's gauge and bodies that wait."""

from dataclasses import replace

from valve_adapters.adapter import Kv
from valve_sidecar.demand import BYTES_PER_TOKEN, SOON_TOKENS, Demand, Online

QUIET = Online(pool_pages=1000, leased=400, wanted=0, kv=None, waiting_bytes=0)


def test_as_long_as_nobody_tells_all_that_it_has_is_used() -> None:
    assert Demand().used(QUIET) == 400


def test_once_a_plug_in_has_told_its_silence_means_nothing_is_used() -> None:
    demand = Demand()
    assert demand.used(replace(QUIET, wanted=70)) == 70
    assert demand.used(QUIET) == 0


def test_a_gauge_counts_blocks_without_pages_as_used() -> None:
    assert Demand().used(replace(QUIET, kv=Kv(free=0.3, tokens=0))) == 100
    assert Demand().used(replace(QUIET, leased=1000, kv=Kv(free=0.3, tokens=0))) == 700
    assert Demand().used(replace(QUIET, kv=Kv(free=0.9, tokens=0))) == 0


def test_the_higher_of_both_counts() -> None:
    assert Demand().used(replace(QUIET, wanted=250, kv=Kv(free=0.3, tokens=0))) == 250
    assert Demand().used(replace(QUIET, wanted=50, kv=Kv(free=0.3, tokens=0))) == 100


def test_bodies_that_wait_become_pages() -> None:
    kv = Kv(free=1.0, tokens=16_000)  # 16 tokens to a page
    waiting = replace(QUIET, kv=kv, waiting_bytes=100 * BYTES_PER_TOKEN)
    assert Demand().soon(waiting) == 7
    assert Demand().soon(replace(waiting, waiting_bytes=0)) == 0
    assert Demand().soon(replace(waiting, waiting_bytes=10**9)) == SOON_TOKENS // 16
    assert Demand().soon(replace(waiting, kv=Kv(1.0, 0))) == 0
    assert Demand().soon(replace(waiting, kv=None)) == 0
