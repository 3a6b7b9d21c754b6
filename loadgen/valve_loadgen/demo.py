"""Owns `valve bench demo` and `valve bench colocate`: the same scenario, in three minutes or at length."""

from pathlib import Path
from typing import Any

from valve_loadgen import table
from valve_loadgen.colocate import Scenario, colocate
from valve_loadgen.results import ARMS
from valve_loadgen.screen import Screen

DEMO = Scenario()


async def play(scenario: Scenario, out: Path, quiet: bool) -> dict[str, Any]:
    """Runs the four arms with progress on screen, shows the table, leaves report.json and logs in `out`."""
    arms = len(ARMS) + len(scenario.baselines) + (scenario.budget is not None)
    with Screen(scenario.rounds * arms, quiet) as screen:
        report = await colocate(scenario, out, screen)
    if not quiet:
        table.show(report)
        print(f"report: {out / 'report.html'} and report.json, logs: {out / 'logs'}")
    return report
