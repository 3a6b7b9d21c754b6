"""The doctor on machines with GPUs, imagined and fake."""

from dataclasses import replace
from pathlib import Path

import pytest

from valve_runtime import doctor_gpu
from valve_runtime.check import Verdict
from valve_runtime.devices import Gpu
from valve_runtime.gpu_selftest import SelfTest, SelfTestError

GPU = Gpu(0, "GPU-11111111-aaaa-bbbb-cccc-000000000001", "H200", utilisation_percent=12, processes=1)
OPEN = "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.95.05  Release Build  (dvs-builder)"
CLOSED = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.15  Tue Mar  5 22:23:56 UTC 2024"


def found_by(mechanism: str, refusals: int = 0) -> SelfTest:
    level = "compute_halted" if mechanism == "channels" else "submission_stopped"
    return SelfTest(mechanism, level, 8, refusals, (100.0, 200.0, 900.0), (50.0,))


@pytest.mark.parametrize(
    ("line", "found"),
    [
        (OPEN, "580.95.05, open module"),
        (CLOSED, "550.54.15, proprietary module"),
        ("?", "unknown, proprietary"),
    ],
)
def test_the_driver_tells_its_version_and_flavour(tmp_path: Path, line: str, found: str) -> None:
    (tmp_path / "version").write_text(line + "\nGCC version: 12\n")
    check = doctor_gpu.check_driver(tmp_path)
    assert check.verdict is Verdict.OK
    assert check.found.startswith(found)


def test_a_driver_that_does_not_tell_is_noted(tmp_path: Path) -> None:
    assert doctor_gpu.check_driver(tmp_path).verdict is Verdict.NOTE


@pytest.mark.parametrize(("firmware", "verdict"), [("580.95.05", Verdict.OK), ("N/A", Verdict.NOTE)])
def test_a_gpu_without_firmware_is_named(tmp_path: Path, firmware: str, verdict: Verdict) -> None:
    gpu = tmp_path / "gpus" / "0000:19:00.0"
    gpu.mkdir(parents=True)
    (tmp_path / "version").write_text(OPEN)
    (gpu / "information").write_text(f"Model: \t\t NVIDIA H200\nGPU Firmware: \t {firmware}\nIRQ: 1\n")
    check = doctor_gpu.check_driver(tmp_path)
    assert check.verdict is verdict
    assert ("0000:19:00.0" in check.found) is (firmware == "N/A")


@pytest.mark.parametrize(
    ("gpu", "mps", "verdict", "mend"),
    [
        (GPU, None, Verdict.OK, ""),
        (GPU, 7, Verdict.ERROR, "mps-control"),
        (Gpu(0, GPU.uuid, "H200", mig=True), None, Verdict.NOTE, "-mig 0"),
        (Gpu(0, GPU.uuid, "H200", exclusive=True), None, Verdict.ERROR, "-c DEFAULT"),
    ],
)
def test_what_keeps_programs_from_sharing_is_named(
    gpu: Gpu, mps: int | None, verdict: Verdict, mend: str
) -> None:
    check = doctor_gpu.check_sharing([gpu], mps)
    assert check.verdict is verdict
    assert mend in check.mend


def test_rival_preloads_are_named(tmp_path: Path) -> None:
    preload = tmp_path / "ld.so.preload"
    assert doctor_gpu.check_preloads(preload, {}).verdict is Verdict.OK
    assert doctor_gpu.check_preloads(preload, {"LD_PRELOAD": "/a/torch_memory_saver.so"}).mend == ""
    preload.write_text("/usr/local/vgpu/libvgpu.so\n")
    check = doctor_gpu.check_preloads(preload, {})
    assert check.verdict is Verdict.NOTE
    assert "libvgpu.so" in check.found


def test_channels_are_the_goal_and_launch_is_a_note() -> None:
    good, poor = doctor_gpu.judge(found_by("channels")), doctor_gpu.judge(found_by("launch", refusals=2))
    assert (good.verdict, good.mend) == (Verdict.OK, "")
    assert good.found.startswith("channels (compute halted; FIFO_DISABLE_CHANNELS permitted), 8 channels; ")
    assert "stop p50 200 p99 " in good.found
    assert poor.verdict is Verdict.NOTE
    assert "FIFO_DISABLE_CHANNELS and GPFIFO_SCHEDULE refused" in poor.found
    assert "refused 2 controls" in poor.mend


def test_the_second_control_is_told_where_it_carries_the_gate() -> None:
    check = doctor_gpu.judge(found_by("channels", refusals=1))
    assert check.verdict is Verdict.OK
    assert "GPFIFO_SCHEDULE permitted, FIFO_DISABLE_CHANNELS refused" in check.found


def test_a_gpu_that_goes_on_is_an_error() -> None:
    check = doctor_gpu.judge(replace(found_by("channels"), moved=2))
    assert check.verdict is Verdict.ERROR
    assert "went on in 2 of 3 stops" in check.found


def test_a_self_test_that_fails_is_a_note(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_device: str) -> SelfTest:
        raise SelfTestError("a GPU program cannot run here: no libcuda.so.1")

    monkeypatch.setattr(doctor_gpu, "run_selftest", fail)
    check = doctor_gpu.check_gate(GPU)
    assert check.verdict is Verdict.NOTE
    assert "no libcuda" in check.found
    assert "freezer" in check.mend
