"""Owns the planner's test against reality: predicted against measured harvest of a colocation run (pure)."""

from dataclasses import dataclass
from typing import Any

from valve_loadgen.plan.calibrate import Calibration
from valve_loadgen.plan.measured import Measured, distance, predict

GOAL_POINTS = 3.0


@dataclass(frozen=True)
class Check:
    """Fractions of a run's wall time with Valve, and how well single requests were met."""

    harvest_predicted: float
    harvest_measured: float
    open_predicted: float
    open_measured: float
    drained_predicted: float
    drained_measured: float
    requests: int
    error: float
    """Mean absolute log ratio of simulated to measured times of the requests, alone."""

    @property
    def points(self) -> float:
        """Percentage points between predicted and measured harvest."""
        return 100 * abs(self.harvest_predicted - self.harvest_measured)

    @property
    def within_goal(self) -> bool:
        return self.points <= GOAL_POINTS

    def as_json(self) -> dict[str, Any]:
        return {
            "harvest_fraction": {"predicted": self.harvest_predicted, "measured": self.harvest_measured},
            "open_fraction": {"predicted": self.open_predicted, "measured": self.open_measured},
            "drained_fraction": {"predicted": self.drained_predicted, "measured": self.drained_measured},
            "points": self.points,
            "goal_points": GOAL_POINTS,
            "within_goal": self.within_goal,
            "requests": self.requests,
            "request_error": self.error,
        }

    def __str__(self) -> str:
        return (
            f"harvested, by offline tokens: predicted {self.harvest_predicted:.1%}, measured "
            f"{self.harvest_measured:.1%}: {self.points:.1f} points apart (goal: {GOAL_POINTS:g})\n"
            f"gate open, by time: predicted {self.open_predicted:.1%}, measured {self.open_measured:.1%}\n"
            f"drained: predicted {self.drained_predicted:.1%}, measured {self.drained_measured:.1%}\n"
            f"single requests ({self.requests}): off by {self.error:.0%} on average"
        )


def check(calibration: Calibration, measured: Measured) -> Check:
    """Predicts `measured`'s windows from `calibration` alone."""
    cooldown_s = measured.cooldown_s or calibration.cooldown_s or calibration.engine.cooldown_s
    predicted = predict(calibration.engine, measured.requests, cooldown_s)
    return Check(
        predicted.open_fraction * calibration.offline_speed,
        measured.harvest_fraction,
        predicted.open_fraction,
        measured.open_fraction,
        predicted.drained_fraction,
        measured.drained_fraction,
        len(measured.requests),
        distance(measured, predicted),
    )
