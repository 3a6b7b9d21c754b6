"""Owns the fit of engine figures to a measured run: those under which its simulation comes closest to it."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from valve_loadgen.errors import BenchError
from valve_loadgen.plan.engine import Engine
from valve_loadgen.plan.measured import Measured, distance, predict

BATCHES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
FITTED = ("step_ms", "sequence_us", "prefill_tokens_per_s")
FIRST_FACTOR, LAST_FACTOR = 2.0, 1.005
REQUESTS_MIN = 20

Distance = Callable[[Engine], float]


@dataclass(frozen=True)
class Calibration:
    """What a measured run tells about its engine and its offline job."""

    engine: Engine
    offline_speed: float
    """Offline tokens per second while the gate is open, over alone."""
    cooldown_s: float | None
    """The run's."""
    error: float
    """Mean absolute log ratio of simulated to measured times."""


def calibrate(measured: Measured, name: str) -> Calibration:
    """Raises BenchError when the run is too short to fit anything."""
    if len(measured.requests) < REQUESTS_MIN:
        raise BenchError(
            f"{name}: {len(measured.requests)} requests are too few to calibrate from; run it for longer "
            f"(at least {REQUESTS_MIN})"
        )

    def off(engine: Engine) -> float:
        return distance(measured, predict(engine, measured.requests, cooldown_s=0.0))

    fitted = min((_fit(off, replace(Engine(), batch=batch)) for batch in BATCHES), key=off)
    engine = replace(fitted, source=f"calibrated from {name}")
    return Calibration(engine, _offline_speed(measured), measured.cooldown_s, off(engine))


def _offline_speed(measured: Measured) -> float:
    """At most 1: what is measured above that is a baseline that was disturbed."""
    return min(1.0, measured.harvest_fraction / measured.open_fraction) if measured.open_fraction else 1.0


def _fit(off: Distance, engine: Engine) -> Engine:
    """Pattern search on the logarithms: one figure at a time, by ever smaller factors."""
    best, factor = off(engine), FIRST_FACTOR
    while factor > LAST_FACTOR:
        moved = False
        for trial in _neighbours(engine, factor):
            distance_there = off(trial)
            if distance_there < best:
                engine, best, moved = trial, distance_there, True
                break
        if not moved:
            factor **= 0.5
    return engine


def _neighbours(engine: Engine, factor: float) -> list[Engine]:
    return [
        replace(engine, **{figure: getattr(engine, figure) * change})
        for figure in FITTED
        for change in (factor, 1 / factor)
    ]
