"""One cast's part of the chaos, as a process: `python -m chaos.lane CAST SEED COUNT HISTORY`.

Fault by fault: reach its state, do it beside traffic, undo it, let everything end, see how long it takes
until all is as it should be, and try that it works.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from . import census, faults, reach
from .events import Events
from .history import History, Injection, Recovery
from .scenario import CASTS, Step, plan
from .stage import Stage
from .welfare import Welfare

CENSUS_EVERY = 50
GIVE_UP_S = 20.0  # what is not well by then will not be


class Lane:
    def __init__(self, stage: Stage, history: History) -> None:
        self._stage, self._history = stage, history
        self._welfare, self._events = Welfare(stage), Events(history)

    def play(self, listed: list[Step], until_s: float) -> None:
        """As many of them as there is time for."""
        self._welfare.wait(GIVE_UP_S)
        self._try_out()
        for step in listed:
            if step.number % CENSUS_EVERY == 0:
                self._history.censuses.append(census.take(self._stage))
            if time.monotonic() > until_s:
                break
            self._inject(step)
        self._history.censuses.append(census.take(self._stage))

    def _inject(self, step: Step) -> None:
        begun_ns = time.monotonic_ns()
        self._events.read(self._stage.players.sidecar)
        reach.reach(self._stage, step)
        with faults.do(self._stage, step):
            self._stage.send(tokens=3)
            time.sleep(step.hold_s)
            self._stage.send(tokens=3)
        self._stage.restore()
        problem = self._stage.end_requests()
        took_ms, unwell = self._welfare.wait(GIVE_UP_S)
        problem = problem or unwell or self._try_out()
        self._events.read(self._stage.players.sidecar)
        self._write_down(step, begun_ns, took_ms, problem)

    def _write_down(self, step: Step, begun_ns: int, took_ms: float, problem: str) -> None:
        ended_ns, effects = time.monotonic_ns(), sorted(step.effects)
        for kind in dict.fromkeys(step.kinds):
            injection = Injection(step.number, kind, step.state, effects, begun_ns, ended_ns)
            self._history.injections.append(injection)
        self._history.recoveries.append(Recovery(step.number, took_ms, problem))
        if problem:
            print(f"{self._stage.cast.name} {step}: {problem}", file=sys.stderr, flush=True)

    def _try_out(self) -> str:
        """A request stops the tenant, and its end lets it run. What does not work, for people."""
        request = self._stage.send(hold=True)
        self._stage.wait_begun(request, GIVE_UP_S)
        stopped = self._stage.wait_stopped(GIVE_UP_S)
        problem = self._stage.end_requests()
        _, unwell = self._welfare.wait(GIVE_UP_S)
        return problem or unwell or ("" if stopped else "a request does not stop the tenant")


@contextmanager
def directory() -> Iterator[Path]:
    """A small file system of our own, so that it can be full; else a directory on memory."""
    made = Path(tempfile.mkdtemp(prefix="valve-chaos-", dir="/dev/shm"))
    mount = ["mount", "-t", "tmpfs", "-o", "size=16m,mode=0700", "chaos", str(made)]
    mounted = os.geteuid() == 0 and subprocess.run(mount, check=False).returncode == 0
    try:
        yield made
    finally:
        census.sweep(made)
        shutil.rmtree(made, ignore_errors=True)
        if mounted:
            subprocess.run(["umount", "-l", str(made)], check=False)
            made.rmdir()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m chaos.lane", description=__doc__)
    parser.add_argument("cast", choices=CASTS)
    parser.add_argument("seed", type=int)
    parser.add_argument("count", type=int)
    parser.add_argument("history", type=Path)
    parser.add_argument("--slow", action="store_true", help="also states that take seconds to reach")
    parser.add_argument("--seconds", type=float, default=1e9, help="begin no fault later")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    listed = plan(arguments.cast, arguments.seed, arguments.count, slow=arguments.slow)
    history = History(arguments.cast, arguments.seed)
    with directory() as made:
        stage = Stage(CASTS[arguments.cast], made, history)
        Lane(stage, history).play(listed, time.monotonic() + arguments.seconds)
        stage.close()
        history.censuses.append(census.leftovers(made))
    history.write(arguments.history)


if __name__ == "__main__":
    main()
