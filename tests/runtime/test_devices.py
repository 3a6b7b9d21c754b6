"""Names of devices, with the GPUs of an imagined machine, and NVML's absence."""

from __future__ import annotations

import pynvml
import pytest

from valve_runtime import devices
from valve_runtime.devices import Gpu, resolve
from valve_runtime.errors import DeviceError

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
