"""Owns a session of several commands: `python -m valve_loadgen.session LOGS A... -- B...`.

The kernel's autogroups weigh whole sessions against each other, so that nice and SCHED_IDLE say something
about two engines only where both are in one. Command i logs to LOGS.i; when one ends, all are ended.
"""

import itertools
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

SEPARATOR = "--"
GRACE_S = 5.0
STOP = {signal.SIGTERM, signal.SIGINT, signal.SIGCHLD}


def commands(argv: Sequence[str]) -> list[list[str]]:
    """Splits at the separators."""
    groups = itertools.groupby(argv, lambda word: word == SEPARATOR)
    return [list(words) for is_separator, words in groups if not is_separator]


def main(argv: Sequence[str]) -> int:
    logs, *rest = argv
    signal.pthread_sigmask(signal.SIG_BLOCK, STOP)
    children = [_start(command, Path(f"{logs}.{index}")) for index, command in enumerate(commands(rest))]
    signal.sigwait(STOP)
    for index, child in enumerate(children):
        if child.poll() is not None:
            print(f"command {index} ended with exit code {child.returncode}; see {logs}.{index}", flush=True)
        child.terminate()
    for child in children:
        _reap(child)
    return 1


def _start(command: Sequence[str], log: Path) -> subprocess.Popen[bytes]:
    with log.open("wb") as output:
        return subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, preexec_fn=_unblock)


def _unblock() -> None:
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP)


def _reap(child: subprocess.Popen[bytes]) -> None:
    try:
        child.wait(GRACE_S)
    except subprocess.TimeoutExpired:
        os.kill(child.pid, signal.SIGKILL)
        child.wait()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
