"""Traces: the packaged slices, every step of the cutting, and files that are not traces."""

import gzip
import statistics
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from valve_loadgen import traces
from valve_loadgen.errors import BenchError
from valve_loadgen.traces import Arrival, Lengths

HEADER = "arrival_s,input_tokens,output_tokens\n"


@pytest.mark.parametrize(
    ("name", "rows", "span_s", "variation"), [("conv", 7241, 1200, 1.0), ("code", 5740, 1800, 8.0)]
)
def test_packaged_slices_are_whole_and_bursty(name: str, rows: int, span_s: float, variation: float) -> None:
    arrivals = traces.packaged(name)
    assert len(arrivals) == rows
    assert 0.9 * span_s < arrivals[-1].at_s < span_s
    gaps = [b.at_s - a.at_s for a, b in zip(arrivals, arrivals[1:], strict=False)]  # noqa: RUF007
    assert statistics.pstdev(gaps) / statistics.fmean(gaps) >= variation


def test_plain_and_gzip_files_read_alike(tmp_path: Path) -> None:
    text = HEADER + "0.5,10,20\n1.5,11,21\n"
    (tmp_path / "a.csv").write_text(text)
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(text.encode()))
    expected = [Arrival(0.5, 10, 20), Arrival(1.5, 11, 21)]
    assert traces.load(tmp_path / "a.csv") == traces.load(tmp_path / "a.csv.gz") == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("time,in,out\n", "first line must have the columns .* TIMESTAMP, ContextTokens"),
        ("", "first line"),
        ('{"time": 1}', "first line"),
        (HEADER + "0,1,2\n1,x,2\n", r"a\.csv:3: .*'x'"),
        ('{"timestamp": 0, "input_length": 1, "output_length": 1}\n{}', r"a\.csv:2: .*timestamp"),
        (HEADER + "0,1\n", r"a\.csv:2"),
        (HEADER + "2,1,1\n1,1,1\n", "not sorted"),
    ],
)
def test_a_bad_file_is_named_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(BenchError, match=message):
        traces.load(tmp_path / "a.csv")


def test_missing_files_and_unknown_names(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="cannot read the trace"):
        traces.load(tmp_path / "none.csv")
    with pytest.raises(BenchError, match="no packaged trace"):
        traces.packaged("none")


def test_ticks_are_found_and_spread_inside(tmp_path: Path) -> None:
    rows = [f"{3 * (i // 10)}.000,{i + 1},1" for i in range(100)]
    (tmp_path / "ticks.csv").write_text(HEADER + "\n".join(rows))
    quantised, loaded = traces.read(tmp_path / "ticks.csv"), traces.load(tmp_path / "ticks.csv")
    assert traces.tick(quantised) == 3.0
    assert traces.tick(loaded) is None
    ticks = {arrival.input_tokens: arrival.at_s for arrival in quantised}
    assert all(0 <= each.at_s - ticks[each.input_tokens] < 3 for each in loaded)
    assert [each.at_s for each in loaded] == sorted(each.at_s for each in loaded)
    assert loaded == traces.load(tmp_path / "ticks.csv")


def test_exact_times_have_no_tick() -> None:
    assert traces.tick(traces.packaged("conv")) is None
    assert traces.tick([]) is None
    assert traces.tick([Arrival(3.0 * i, 1, 1) for i in range(9)]) is None  # apart by 3 s, but not shared


ARRIVALS = [Arrival(float(i), 100 * i, 10 * i) for i in range(10)]


def test_a_window_is_half_open_and_rebased() -> None:
    assert [arrival.at_s for arrival in traces.window(ARRIVALS, 2, 3)] == [0, 1, 2]
    assert traces.window(ARRIVALS, 2, 3)[0].input_tokens == 200


@given(keep=st.floats(0, 1), seed=st.integers())
def test_thinning_keeps_a_subsequence_and_repeats(keep: float, seed: int) -> None:
    kept = traces.thin(ARRIVALS, keep, seed)
    assert [arrival for arrival in ARRIVALS if arrival in kept] == kept
    assert traces.thin(ARRIVALS, keep, seed) == kept


def test_thinning_keeps_all_none_and_about_the_fraction() -> None:
    assert traces.thin(ARRIVALS, 1.0, 1) == ARRIVALS
    assert traces.thin(ARRIVALS, 0.0, 1) == []
    assert 1650 < len(traces.thin(traces.packaged("conv"), 0.25, 1)) < 1970


def test_stretching_scales_time_only() -> None:
    assert traces.stretch([Arrival(3.0, 1, 2)], 0.5) == [Arrival(1.5, 1, 2)]


@given(inputs=st.integers(0, 10**6), outputs=st.integers(0, 10**6))
def test_lengths_stay_within_their_bounds(inputs: int, outputs: int) -> None:
    scaled = Lengths(16, 8, 64, 10, 6, 24).scaled(Arrival(1.0, inputs, outputs))
    assert 8 <= scaled.input_tokens <= 64
    assert 6 <= scaled.output_tokens <= 24
    if 128 <= inputs <= 1024:
        assert scaled.input_tokens == round(inputs / 16)
