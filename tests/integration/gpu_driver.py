"""The `valve` command on a machine that has the fake GPU, which NVML does not see."""

import sys

from valve_runtime import devices
from valve_sidecar.cli import main

from .fake_gpu import GPU

if __name__ == "__main__":
    devices.gpus = lambda: [devices.Gpu(0, GPU, "Fake GPU")]
    sys.exit(main(sys.argv[1:]))
