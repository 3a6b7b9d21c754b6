"""Owns the planner's test against reality: predicted against measured harvest of a colocation run (pure)."""

from dataclasses import asdict, dataclass
from typing import Any

from valve_loadgen.errors import BenchError
from valve_loadgen.plan.calibrate import Calibration
from valve_loadgen.plan.measured import Measured, distance, predict

GOAL_POINTS = 3.0


@dataclass(frozen=True)
class Compared:
    """One figure, a fraction of wall time with Valve."""

    predicted: float
    measured: float

    @property
    def points(self) -> float:
        """Percentage points between the two."""
        return 100 * abs(self.predicted - self.measured)

    def __str__(self) -> str:
        return f"predicted {self.predicted:.1%}, measured {self.measured:.1%}: {self.points:.1f} points apart"


@dataclass(frozen=True)
class Check:
    harvest: Compared
    """By offline tokens, over alone."""
    open: Compared
    """By time: no tenant was stopped."""
    drained: Compared
    windows: list[Compared]
    """The gate's open time in each window: one that was disturbed stands out."""
    requests: int
    request_error: float
    """Mean absolute log ratio of simulated to measured times of the requests, alone."""

    @property
    def within_goal(self) -> bool:
        return self.harvest.points <= GOAL_POINTS

    def as_json(self) -> dict[str, Any]:
        return {
            **asdict(self),
            "points": self.harvest.points,
            "goal_points": GOAL_POINTS,
            "within_goal": self.within_goal,
        }

    def __str__(self) -> str:
        return "\n".join(
            [
                f"harvested, by offline tokens: {self.harvest} (goal: {GOAL_POINTS:g})",
                f"gate open, by time: {self.open}",
                *(f"  window {number}: {each}" for number, each in enumerate(self.windows, start=1)),
                f"drained: {self.drained}",
                f"single requests ({self.requests}): off by {self.request_error:.0%} on average",
            ]
        )


def check(calibration: Calibration, measured: Measured) -> Check:
    """Predicts `measured`'s windows from `calibration` alone. Raises BenchError if it tells too little."""
    if measured.open_fraction is None:
        raise BenchError("the report to check does not say how long the gate was open; run it again")
    cooldown_s = measured.cooldown_s or calibration.cooldown_s or calibration.engine.cooldown_s
    predicted = predict(calibration.engine, measured.requests, cooldown_s)
    windows = [
        predict(calibration.engine, measured.requests.of_deployment(number), cooldown_s).open_fraction
        for number in range(len(measured.open_by_window))
    ]
    return Check(
        Compared(predicted.open_fraction * calibration.offline_speed, measured.harvest_fraction),
        Compared(predicted.open_fraction, measured.open_fraction),
        Compared(predicted.drained_fraction, measured.drained_fraction),
        [Compared(*pair) for pair in zip(windows, measured.open_by_window, strict=True)],
        len(measured.requests),
        distance(measured, predicted),
    )
