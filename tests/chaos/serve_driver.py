"""`valve` on a machine with one GPU that the fake driver has: the command line is valve's."""

import sys

from integration.fake_gpu import GPU
from valve_runtime import devices
from valve_sidecar.cli import main

if __name__ == "__main__":
    devices.gpus = lambda: [devices.Gpu(0, GPU, "fake")]
    sys.exit(main())
