"""`valve run` without the command line, by a chosen freezer: RUNTIME_DIR cgroup|signal COMMAND ARGS..."""

import os
import sys
from pathlib import Path

from valve_runtime import cgroup
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
    try:
        return run(command, RunOptions("job", ("cpu",), 0, Path(directory)))
    except ValveRuntimeError as error:
        print(f"valve: {error}", file=sys.stderr)
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
