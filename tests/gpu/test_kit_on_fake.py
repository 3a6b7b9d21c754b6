"""The GPU kit itself: every part runs on the fake driver and finds there what is to be found."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get("VALVE_BUILD", ROOT / "build" / "native"))
FIGURES = {"n", "p50", "p90", "p99", "max"}

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(not any(BUILD.rglob("libfake_rm.so")), reason="no fakes: make native"),
]

Report = dict[str, Any]


def run_kit(folder: Path, *arguments: str, **environment: str) -> tuple[int, Report]:
    """Exit status and gpu-kit.json of a run on the fakes."""
    paths = {"OUT": str(folder), "KIT_BUILD": str(folder / "build"), "VALVE_BUILD": str(BUILD)}
    paths["PYTHON"] = sys.executable  # which has Valve
    done = subprocess.run(
        ["bash", str(ROOT / "tests/gpu/run.sh"), "--fake", *arguments],
        env=os.environ | paths | environment,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    written = folder / "gpu-kit.json"
    assert written.exists(), done.stdout + done.stderr
    return done.returncode, json.loads(written.read_text())


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Report:
    """Of the whole kit."""
    _, written = run_kit(tmp_path_factory.mktemp("kit"))
    return written


def records(report: Report, part: str) -> dict[str, Report]:
    assert report["parts"][part]["status"] == "ok", report["parts"][part]
    return {record["name"]: record for record in report["parts"][part]["records"]}


def test_report_has_every_part(report: Report) -> None:
    assert report["kit"] == 1
    assert report["fake"] is True
    assert list(report["parts"]) == [
        *("probe", "gate", "correct", "torch", "cupy", "sharing", "vmm", "pair", "engines", "xids"),
    ]


def test_probe_finds_what_the_client_check_permits(report: Report) -> None:
    found = records(report, "probe")
    for way in ("in process", "passed descriptor", "pidfd_getfd"):
        for control in ("GPFIFO_SCHEDULE", "FIFO_DISABLE_CHANNELS"):
            assert found[f"{control}, {way}"]["verdict"] == "ok", found
    other = found["FIFO_DISABLE_CHANNELS, another open"]
    assert (other["off"], other["stood_still"], other["verdict"]) == ("INVALID_CLIENT", 0, "ok")
    assert found["killed while disabled, then a new victim"]["verdict"] == "ok"


def test_gate_is_measured_for_every_victim_and_way(report: Report) -> None:
    found = records(report, "gate")
    victims = ("short", "long", "persistent", "graph", "htod", "dtoh")
    ways = ("in process", "direct", "whole stack")
    assert set(found) == {f"{victim}, {way}" for victim in victims for way in ways}
    for record in found.values():
        assert record["verdict"] == "ok", record
        assert (record["leaks"], record["stuck"], record["errors"]) == (0, 0, 0)
        assert set(record["stopped_us"]) == set(record["resumed_us"]) == FIGURES
    assert all(found[f"{victim}, whole stack"]["mechanism"] == "channels" for victim in victims)


def test_preempted_results_are_equal(report: Report) -> None:
    (record,) = records(report, "correct").values()
    assert (record["verdict"], record["wrong"], record["rescues"]) == ("ok", 0, 0)
    assert record["preemptions"] > 10
    assert record["runs"] > 0


def test_memory_can_be_remapped_under_a_closed_gate(report: Report) -> None:
    found = records(report, "vmm")
    assert found["costs"]["verdict"] == "ok"
    assert found["unmap, map, set_access under a closed gate"]["verdict"] == "go"


@pytest.mark.parametrize(
    ("part", "arms"),
    [
        ("sharing", ["online alone", "two processes, default time-slicing", "one process, stream priority"]),
        ("pair", ["online alone", "offline alone", "both, default time-slicing", "both, Valve"]),
        (
            "engines",
            [f"engines: {arm}" for arm in ("online alone", "offline alone", "both, default time-slicing")]
            + ["engines: both, Valve", "engines: both, Valve, policy budget"],
        ),
    ],
)
def test_arms_are_played(report: Report, part: str, arms: list[str]) -> None:
    found = records(report, part)
    assert list(found) == arms
    assert {record["verdict"] for record in found.values()} == {"ok"}


def test_policy_budget_has_an_slo_and_requests_within_it(report: Report) -> None:
    record = records(report, "engines")["engines: both, Valve, policy budget"]
    assert record["slo_ms"] > 0
    assert 0 <= record["within_slo"] <= 1
    assert record["offline_tokens_per_s"] > 0


def test_pair_is_preempted_by_channels(report: Report) -> None:
    record = records(report, "pair")["both, Valve"]
    assert record["mechanism"] == "channels"
    assert record["closes"] > 0


def test_refusal_is_reported_not_fatal(tmp_path: Path) -> None:
    _, written = run_kit(tmp_path, "--only", "probe", FAKE_RM_REFUSE="disable=0x1b")
    found = {record["name"]: record for record in written["parts"]["probe"]["records"]}
    refused = found["FIFO_DISABLE_CHANNELS, in process"]
    assert (refused["off"], refused["verdict"]) == ("INSUFFICIENT_PERMISSIONS", "refused")
    assert found["GPFIFO_SCHEDULE, in process"]["verdict"] == "ok"
    assert list(written["parts"]) == ["probe"]
