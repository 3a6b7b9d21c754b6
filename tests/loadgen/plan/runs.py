"""Reports of colocation runs that never were: an engine of known figures serves known windows."""

import random
from array import array
from typing import Any

from valve_loadgen.plan.engine import Engine
from valve_loadgen.plan.measured import predict
from valve_loadgen.plan.requests import Requests

ENGINE = Engine(11.0, 1500.0, 170.0, 4)
SPEED = 0.95
COOLDOWN_S = 0.1
WINDOW_S = 25.0
WINDOWS = 8


def windows(seed: int, per_window: int = 20) -> Requests:
    source = random.Random(seed)
    count = WINDOWS * per_window
    return Requests(
        WINDOW_S,
        [f"window {number}" for number in range(WINDOWS)],
        array("d", sorted(source.random() * WINDOW_S for _ in range(count))),
        array("I", (source.randint(8, 64) for _ in range(count))),
        array("I", (source.randint(6, 24) for _ in range(count))),
        array("I", (source.randrange(WINDOWS) for _ in range(count))),
    )


def _timeline(requests: Requests, number: int) -> dict[str, Any]:
    closed_s = WINDOW_S * (1 - predict(ENGINE, requests.of_deployment(number), COOLDOWN_S).open_fraction)
    return {"arm": "shared_valve", "span_s": WINDOW_S, "gate_closed": [[0.0, closed_s]]}


def report(seed: int, noise: float = 0.0, per_window: int = 20) -> dict[str, Any]:
    """What `valve bench colocate` would have written, as far as the planner reads it."""
    requests, source = windows(seed, per_window), random.Random(seed)
    truth = predict(ENGINE, requests, COOLDOWN_S)
    rows = [
        {
            "round": requests.group[number],
            "at_s": requests.at_s[number],
            "input_tokens": requests.inputs[number],
            "output_tokens": requests.outputs[number],
            "ttft_ms": truth.ttft_ms[number] * source.lognormvariate(0, noise),
            "total_ms": truth.total_ms[number] * source.lognormvariate(0, noise),
        }
        for number in range(len(requests))
    ]
    valve = {"harvested_fraction": truth.open_fraction * SPEED, "drained_fraction": truth.drained_fraction}
    return {
        "rounds": WINDOWS,
        "window_s": WINDOW_S,
        "cooldown_ms": COOLDOWN_S * 1e3,
        "arms": {"shared_valve": valve},
        "harvest_efficiency": 0.95,
        "gate_open_fraction": truth.open_fraction,
        "timelines": [_timeline(requests, number) for number in range(WINDOWS)],
        "requests": rows,
    }
