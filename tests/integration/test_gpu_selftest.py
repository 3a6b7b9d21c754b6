"""The doctor's self-test, on the fake GPU and where there is none."""

from __future__ import annotations

import pytest

from valve_runtime import gpu_selftest
from valve_runtime.gpu_selftest import SelfTestError, run_selftest

from . import fake_gpu

pytestmark = pytest.mark.integration


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in fake_gpu.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PYTHONUNBUFFERED", "1")  # the program's lines come whole even so


@pytest.mark.usefixtures("fake")
def test_it_finds_channels_and_times_them() -> None:
    found = run_selftest(fake_gpu.GPU, seconds=0.2)
    assert (found.mechanism, found.level, found.refusals) == ("channels", "compute_halted", 0)
    assert found.channels == 4
    assert found.moved == 0
    assert "FIFO_DISABLE_CHANNELS permitted" in found.describe()
    assert len(found.stop_us) == len(found.resume_us) > 0
    assert min(found.stop_us) > 0


@pytest.mark.usefixtures("fake")
def test_it_finds_what_the_driver_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_RM_REFUSE", "disable=0x1b")
    found = run_selftest(fake_gpu.GPU, seconds=0.1)
    assert (found.mechanism, found.moved) == ("channels", 0)
    assert "GPFIFO_SCHEDULE permitted, FIFO_DISABLE_CHANNELS refused" in found.describe()


@pytest.mark.usefixtures("fake")
def test_it_finds_a_driver_that_only_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_RM_IGNORE", "disable")
    assert any(run_selftest(fake_gpu.GPU, seconds=0.2).moved > 0 for _ in range(50))


def test_without_a_driver_it_says_so() -> None:
    with pytest.raises(SelfTestError, match=r"libcuda\.so\.1"):
        run_selftest(fake_gpu.GPU, seconds=0.1)


@pytest.mark.usefixtures("fake")
def test_a_driver_that_hangs_does_not_hang_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_RM_DELAY_US", "disable=700000")
    monkeypatch.setattr(gpu_selftest, "STOP_S", 0.1)
    with pytest.raises(SelfTestError, match="not stopped within"):
        run_selftest(fake_gpu.GPU, seconds=0.1)
