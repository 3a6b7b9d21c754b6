"""The part of `valve doctor` that a machine with a GPU gets: driver, sharing, preloads, and the self-test."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from . import mps
from .check import Check, Verdict
from .devices import NO_MIG, Gpu
from .errors import ValveRuntimeError
from .gpu_selftest import SelfTest, run_selftest

DRIVER = Path("/proc/driver/nvidia")
SYSTEM_PRELOAD = Path("/etc/ld.so.preload")
RIVALS = ("libvgpu.so", "libxpu", "libnvshare", "libshim")  # HAMi, XSched, nvshare: they gate launches too


def examine_gpus(gpus: Sequence[Gpu]) -> list[Check]:
    """For one GPU or more; takes some seconds."""
    checks = [check_driver(DRIVER), check_sharing(gpus, mps.find_server())]
    checks.append(check_preloads(SYSTEM_PRELOAD, os.environ))
    checks += [check_gate(gpu) for gpu in gpus[:1] if not gpu.mig]
    return checks


def check_driver(folder: Path) -> Check:
    """The module's version and flavour, and whether GPUs run its firmware, as it tells them itself."""
    name, path = "GPU driver", folder / "version"
    try:
        line = path.read_text().splitlines()[0]
    except (OSError, IndexError):
        return Check(name, Verdict.NOTE, f"NVML answers, but {path} is not there")
    version = re.search(r"\d+\.\d+(\.\d+)?", line)
    flavour = "open" if "Open Kernel Module" in line else "proprietary"
    found = f"{version.group() if version else 'unknown'}, {flavour} module"
    without = _without_firmware(folder)
    if not without:
        return Check(name, Verdict.OK, found)
    mend = (
        "FIFO_DISABLE_CHANNELS is carried out by GSP firmware (NVreg_EnableGpuFirmware=1, Turing or later); "
        "GPFIFO_SCHEDULE is used instead"
    )
    return Check(name, Verdict.NOTE, f"{found}; without GSP firmware: {', '.join(without)}", mend)


def _without_firmware(folder: Path) -> list[str]:
    """PCI addresses of GPUs that name no firmware's version."""
    files = sorted(folder.glob("gpus/*/information"))
    return [
        path.parent.name for path in files if re.search(r"^GPU Firmware:\s*N/A", _text(path), re.MULTILINE)
    ]


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


def check_sharing(gpus: Sequence[Gpu], mps_server: int | None) -> Check:
    """What keeps two programs from sharing a GPU, or us from telling them apart."""
    name = "GPU sharing"
    if mps_server is not None:
        return Check(name, Verdict.ERROR, f"MPS server {mps_server}", mps.REASON.format(pid=mps_server))
    for gpu in gpus:
        if gpu.mig:
            return Check(name, Verdict.NOTE, f"GPU {gpu.index} is in MIG mode", NO_MIG.format(gpu.index))
        if gpu.exclusive:
            mend = f"`nvidia-smi -i {gpu.index} -c DEFAULT`, so that online and offline fit on it together"
            return Check(name, Verdict.ERROR, f"GPU {gpu.index} takes one process only", mend)
    use = ", ".join(f"{gpu.index}: {_use(gpu)}" for gpu in gpus)
    return Check(name, Verdict.OK, f"no MIG, no MPS, default compute mode; {use}")


def _use(gpu: Gpu) -> str:
    busy = "?" if gpu.utilisation_percent is None else gpu.utilisation_percent
    return f"{busy} % busy, {gpu.processes} processes"


def check_preloads(system: Path, environment: Mapping[str, str]) -> Check:
    """Libraries that interpose what the shim does."""
    names = [*re.split(r"[\s:]+", _text(system)), *re.split("[ :]+", environment.get("LD_PRELOAD", ""))]
    rivals = [name for name in names if any(rival in Path(name).name for rival in RIVALS)]
    if rivals:
        mend = "run tenants without it: two gates on one program wait for each other"
        return Check("preloads", Verdict.NOTE, f"{', '.join(rivals)} gates GPU work too", mend)
    return Check("preloads", Verdict.OK, "nothing that gates GPU work besides Valve's shim")


def check_gate(gpu: Gpu) -> Check:
    """The product's own way, on a real GPU program in a child: shows which controls are permitted."""
    try:
        return judge(run_selftest(gpu.uuid))
    except ValveRuntimeError as error:
        mend = "a GPU tenant is stopped by the freezer, which does not halt kernels already on the GPU"
        return Check("GPU gate", Verdict.NOTE, str(error), mend)


def judge(found: SelfTest) -> Check:
    if found.moved:
        mend = "do not share this GPU, and report the driver's version: the driver said that it had halted"
        halts = f"went on in {found.moved} of {len(found.stop_us)} stops although acknowledged"
        return Check("GPU gate", Verdict.ERROR, f"{halts}; {found.describe()}", mend)
    if found.mechanism == "channels":
        return Check("GPU gate", Verdict.OK, found.describe())
    mend = (
        f"the driver refused {found.refusals} controls, so that kernels on the GPU run on until they end; "
        "see deploy/driver/README.md"
    )
    return Check("GPU gate", Verdict.NOTE, found.describe(), mend)
