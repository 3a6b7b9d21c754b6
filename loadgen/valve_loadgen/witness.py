"""Owns the check that the gate is real: stops against what the heartbeat inside the tenant logged (pure)."""

from collections.abc import Sequence
from dataclasses import dataclass

from valve_loadgen.events import Stop
from valve_loadgen.heartbeat import Beats


@dataclass
class Witness:
    """`cycles` stops were checked against every thread; in `violations` of them some thread made progress.

    `vacuous` are those before which some thread had not run since the previous stop: its silence says less.
    """

    cycles: int = 0
    violations: int = 0
    vacuous: int = 0

    def check(self, stops: Sequence[Stop], beats: Sequence[Beats]) -> None:
        """Adds `stops` (in order, each resumed; the first of a call is never vacuous) to the counts."""
        before: Stop | None = None
        for stop in stops:
            assert stop.resume_woken_ns is not None
            self.cycles += 1
            silent = all(thread.silent(stop.stopped_ns, stop.resume_woken_ns) for thread in beats)
            self.violations += not silent
            if before is not None:
                self.vacuous += any(thread.silent(before.stopped_ns, stop.stopped_ns) for thread in beats)
            before = stop
