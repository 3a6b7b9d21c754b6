"""Names of devices, with the GPUs of an imagined machine, and NVML's absence."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pynvml
import pytest

from valve_runtime import devices
from valve_runtime.devices import Gpu, resolve
from valve_runtime.errors import DeviceError, SegmentError
from valve_runtime.node import Node, Side, Tenant

A = "GPU-11111111-aaaa-bbbb-cccc-000000000001"
B = "GPU-22222222-aaaa-bbbb-cccc-000000000002"
GPUS = [Gpu(0, A, "H200"), Gpu(1, B, "H200")]


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["cpu"], ("cpu",)),
        (["CPU"], ("cpu",)),
        (["0"], (A,)),
        ([B, "0"], (B, A)),
        (["1", B], (B,)),
        (["GPU-2222"], (B,)),
        (["cpu", "1"], ("cpu", B)),
    ],
)
def test_names_are_resolved(names: list[str], expected: tuple[str, ...]) -> None:
    assert resolve(names, GPUS) == expected


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, (A, B)),
        ({"CUDA_VISIBLE_DEVICES": "1"}, (B,)),
        ({"CUDA_VISIBLE_DEVICES": f"{B},0"}, (B, A)),
        ({"CUDA_VISIBLE_DEVICES": "1,-1,0"}, (B,)),
        ({"CUDA_VISIBLE_DEVICES": ""}, ("cpu",)),
    ],
)
def test_the_default_is_what_is_visible(environment: dict[str, str], expected: tuple[str, ...]) -> None:
    assert resolve([], GPUS, environment) == expected


def test_without_a_gpu_the_default_is_the_cpu() -> None:
    assert resolve([], [], {}) == ("cpu",)


@pytest.mark.parametrize("name", ["2", "GPU-", "GPU-9", "tpu", "", "-1"])
def test_an_unknown_device_is_refused_with_what_there_is(name: str) -> None:
    with pytest.raises(DeviceError, match="this machine has cpu and 0") as caught:
        resolve([name], GPUS)
    assert A in str(caught.value)


def test_an_ambiguous_prefix_is_refused() -> None:
    with pytest.raises(DeviceError):
        resolve(["GPU-3"], [Gpu(0, "GPU-33", "x"), Gpu(1, "GPU-34", "x")])


@pytest.mark.parametrize(
    "error",
    [pynvml.NVML_ERROR_LIBRARY_NOT_FOUND, pynvml.NVML_ERROR_DRIVER_NOT_LOADED, pynvml.NVML_ERROR_UNKNOWN],
)
def test_a_missing_or_silent_driver_means_no_gpus(monkeypatch: pytest.MonkeyPatch, error: int) -> None:
    def fail() -> None:
        raise pynvml.NVMLError(error)

    monkeypatch.setattr(pynvml, "nvmlInit", fail)
    assert devices.gpus() == []


class Machine:
    """NVML of a machine with one GPU, which does not know everything."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **answers: object) -> None:
        known = {
            "nvmlInit": None,
            "nvmlShutdown": None,
            "nvmlDeviceGetCount": 1,
            "nvmlDeviceGetHandleByIndex": "handle",
            "nvmlDeviceGetUUID": A,
            "nvmlDeviceGetName": "H200",
        }
        for name in (
            "nvmlDeviceGetUtilizationRates",
            "nvmlDeviceGetMigMode",
            "nvmlDeviceGetComputeMode",
            "nvmlDeviceGetComputeRunningProcesses",
        ):
            monkeypatch.setattr(pynvml, name, self.refuse)
        for name, answer in (known | answers).items():
            monkeypatch.setattr(pynvml, name, lambda *_, answer=answer: answer)

    @staticmethod
    def refuse(*_: object) -> None:
        raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)


def test_what_nvml_does_not_know_is_left_open(monkeypatch: pytest.MonkeyPatch) -> None:
    Machine(monkeypatch)
    assert devices.gpus() == [Gpu(0, A, "H200")]


def test_what_nvml_knows_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    Machine(
        monkeypatch,
        nvmlDeviceGetUtilizationRates=SimpleNamespace(gpu=37),
        nvmlDeviceGetMigMode=(1, 1),
        nvmlDeviceGetComputeMode=pynvml.NVML_COMPUTEMODE_EXCLUSIVE_PROCESS,
        nvmlDeviceGetComputeRunningProcesses=[1, 2],
    )
    (gpu,) = devices.gpus()
    assert (gpu.utilisation_percent, gpu.mig, gpu.exclusive, gpu.processes) == (37, True, True, 2)


@pytest.mark.parametrize("name", ["0", A, "MIG-11111111-aaaa-bbbb-cccc-000000000001"])
def test_mig_is_refused_with_a_mend(name: str) -> None:
    with pytest.raises(DeviceError, match=r"MIG.*nvidia-smi"):
        resolve([name], [Gpu(0, A, "H200", mig=True)])


@pytest.mark.parametrize(
    "environment", [{}, {"CUDA_VISIBLE_DEVICES": "0"}, {"CUDA_VISIBLE_DEVICES": "MIG-11111111-aaaa"}]
)
def test_mig_is_refused_also_where_no_device_is_named(environment: dict[str, str]) -> None:
    """Its processes would run ungated: no sidecar has a slice, and what has none is a job of the CPU."""
    with pytest.raises(DeviceError, match=r"MIG.*nvidia-smi"):
        resolve([], [Gpu(0, A, "H200", mig=True)], environment)


def test_a_whole_gpu_beside_one_in_mig_mode_can_be_named() -> None:
    known = [Gpu(0, A, "H200", mig=True), Gpu(1, B, "H200")]
    assert resolve(["1"], known, {}) == (B,)
    assert resolve([], known, {"CUDA_VISIBLE_DEVICES": "1"}) == (B,)
    assert resolve(["cpu"], known, {}) == ("cpu",)


def test_thirty_two_gpus_are_one_jobs_default(tmp_path: Path) -> None:
    known = [Gpu(index, f"GPU-{index:08x}-aaaa-bbbb-cccc-000000000001", "H200") for index in range(32)]
    names = resolve([], known, {})
    assert names == tuple(gpu.uuid for gpu in known)
    with Node.open(tmp_path, Side.TENANT) as node:
        Tenant.register(node, "batch", 0, names)
        assert node.tenants()[0].devices == names
        with pytest.raises(SegmentError, match="64 to a sidecar and 32 to a job"):
            Tenant.register(node, "batch", 0, (*names, "cpu"))


def test_mps_is_refused_for_gpu_jobs_only() -> None:
    devices.refuse_mps(["cpu"], server=7)
    with pytest.raises(DeviceError, match=r"process 7.*mps-control"):
        devices.refuse_mps(["cpu", A], server=7)
