"""Puts the four source roots on the path, so that the tests run from a checkout and in every process they
start.
"""

import os
import signal
import sys
from pathlib import Path

from hypothesis import settings

ROOT = Path(__file__).resolve().parent.parent
SOURCE_ROOTS = [str(ROOT / folder) for folder in ("sidecar", "gpu_runtime", "adapters", "loadgen")]

sys.path[:0] = SOURCE_ROOTS
os.environ["PYTHONPATH"] = os.pathsep.join([*SOURCE_ROOTS, os.environ.get("PYTHONPATH", "")]).rstrip(
    os.pathsep
)

# The same examples every time, however busy the machine is. Others: `pytest --hypothesis-profile=default`.
settings.register_profile("valve", deadline=None, derandomize=True)
settings.load_profile("valve")

# Under nohup, or as a shell's background job, these would stay ignored in every process that we start.
signal.signal(signal.SIGHUP, signal.SIG_DFL)
signal.signal(signal.SIGQUIT, signal.SIG_DFL)
signal.signal(signal.SIGINT, signal.default_int_handler)
