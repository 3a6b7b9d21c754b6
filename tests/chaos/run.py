"""The chaos suite: `python -m chaos.run --seed N --faults N --out report.json`.

Each cast plays its faults in a process of its own, beside the others; the checker judges the histories. Exit
code 1 if a promise was broken. The report has every violation with its cast and the fault's number.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import orjson

from .checker import check
from .history import History
from .report import report
from .scenario import CASTS

TESTS = Path(__file__).resolve().parent.parent
ROOTS = ("tests", "sidecar", "gpu_runtime", "adapters", "loadgen")
GRACE_S = 180.0  # for a lane's last fault and its end


def run(
    seed: int, faults: int, seconds: float, *, slow: bool, histories: Path, patience: float = 1.0
) -> dict[str, Any]:
    """`faults` of each cast, none begun after `seconds`. Raises RuntimeError if a lane fails."""
    begun_s = time.monotonic()
    lanes = {name: _start(name, seed, faults, seconds, slow, histories / f"{name}.json") for name in CASTS}
    try:
        codes = {name: lane.wait(seconds + GRACE_S) for name, lane in lanes.items()}
    finally:
        for lane in lanes.values():
            lane.terminate() if lane.poll() is None else None
    if any(codes.values()):
        raise RuntimeError(f"lanes failed: {codes}")
    played = [History.read(histories / f"{name}.json") for name in CASTS]
    found = [(history, violation) for history in played for violation in check(history, patience)]
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = used.ru_utime + used.ru_stime
    return report(played, found, seconds=time.monotonic() - begun_s) | {"cpu_s": round(cpu_s, 1)}


def _start(
    name: str, seed: int, faults: int, seconds: float, slow: bool, history: Path
) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "chaos.lane", name, str(seed), str(faults), str(history)]
    command += ["--seconds", str(seconds), *(["--slow"] if slow else [])]
    path = os.pathsep.join(str(TESTS.parent / root) for root in ROOTS)
    return subprocess.Popen(command, env=os.environ | {"PYTHONPATH": path}, cwd=TESTS)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m chaos.run", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--faults", type=int, default=600, help="of each cast (600)")
    parser.add_argument("--minutes", type=float, default=17.0, help="begin no fault later (17)")
    parser.add_argument("--quick", action="store_true", help="without the states that take seconds to reach")
    parser.add_argument("--out", type=Path, help="where the report goes (standard output)")
    parser.add_argument(
        "--histories", type=Path, help="an existing directory, to keep what the checker reads"
    )
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        histories = arguments.histories or Path(scratch)
        seconds = arguments.minutes * 60
        result = run(arguments.seed, arguments.faults, seconds, slow=not arguments.quick, histories=histories)
    text = orjson.dumps(result, option=orjson.OPT_INDENT_2)
    if arguments.out:
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        arguments.out.write_bytes(text + b"\n")
    else:
        print(text.decode())
    print(f"{result['faults']} faults, {result['requests']} requests, {len(result['violations'])} violations")
    return 1 if result["violations"] else 0


if __name__ == "__main__":
    sys.exit(main())
