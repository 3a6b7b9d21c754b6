"""`valve run` without the command line, by a chosen freezer: RUNTIME_DIR cgroup|signal COMMAND ARGS...

By environment: VALVE_TEST_USER, whose uid it takes; VALVE_TEST_DEVICES, comma separated;
VALVE_TEST_DEADLINE_S, the time that a process has to become a rank, and how often that is looked at;
VALVE_TEST_MAX_STOPPED_S.
"""

import os
import sys
from pathlib import Path

from valve_runtime import cgroup, shim, watch
from valve_runtime.errors import ValveRuntimeError
from valve_runtime.run import RunOptions, run


def refuse() -> Path:
    raise cgroup.CgroupUnavailableError("the test wants signals")


def main() -> int:
    directory, way, *command = sys.argv[1:]
    if user := os.environ.get("VALVE_TEST_USER"):
        os.setuid(int(user))
    if way == "signal":
        cgroup.own_cgroup = refuse
    if deadline := os.environ.get("VALVE_TEST_DEADLINE_S"):
        shim.SHIM_DEADLINE_S = watch.REFRESH_S = float(deadline)
    devices = tuple(os.environ.get("VALVE_TEST_DEVICES", "cpu").split(","))
    max_stopped_s = float(os.environ.get("VALVE_TEST_MAX_STOPPED_S", "0"))
    try:
        return run(command, RunOptions("job", devices, 0, Path(directory), max_stopped_s=max_stopped_s))
    except ValveRuntimeError as error:
        print(f"valve: {error}", file=sys.stderr)
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
