"""The controller in C against the one in Python: the same table, and the same steps whatever happens."""

import runpy
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from valve_sidecar.controller import Action, DrainController, State, Step

from .probe import Controller

ROOT = Path(__file__).parents[2]
CALLS = (
    "arrived",
    "progressed",
    "finished_sure",
    "finished_in_doubt",
    "stalled",
    "idle",
    "busy",
    "timer",
    "lapsed",
)
EPOCH_CALLS = ("idle", "busy", "timer")
ACTIONS = (None, *Action)  # by their numbers in C
STATES = tuple(State)
KEYS = st.integers(0, 3)


def test_the_table_in_c_is_generated_from_the_one_in_python() -> None:
    generated = runpy.run_path(str(ROOT / "deploy" / "controller_table.py"))["table"]()
    assert (ROOT / "native" / "intake" / "controller_table.h").read_text() == generated, (
        "python deploy/controller_table.py > native/intake/controller_table.h"
    )


def call(controller: DrainController, name: str, argument: int) -> Step:
    match name:
        case "arrived":
            return controller.arrived(argument)
        case "progressed":
            return controller.progressed(argument)
        case "finished_sure" | "finished_in_doubt":
            return controller.finished(argument, sure=name == "finished_sure")
        case "stalled":
            return controller.stalled()
        case "idle" | "busy":
            return controller.engine_answered(argument, busy=name == "busy")
        case "timer":
            return controller.timer_fired(argument)
        case _:
            return controller.lapsed()


@st.composite
def histories(draw: st.DrawFn) -> list[tuple[str, int, bool]]:
    """(call, request, whether its epoch is stale). A request arrives once at a time, as in the product."""
    steps: list[tuple[str, int, bool]] = []
    alive: set[int] = set()
    for _ in range(draw(st.integers(1, 40))):
        name, key = draw(st.sampled_from(CALLS)), draw(KEYS)
        if name == "arrived" and key in alive:
            name = "finished_sure"
        if name in ("progressed", "finished_sure", "finished_in_doubt") and key not in alive:
            name = "arrived"
        if name == "arrived":
            alive.add(key)
        if name.startswith("finished"):
            alive.discard(key)
        steps.append((name, key, draw(st.booleans()) and draw(st.booleans())))
    return steps


@settings(deadline=None)
@given(histories())
def test_both_take_the_same_steps(history: list[tuple[str, int, bool]]) -> None:
    ours, reference = Controller(), DrainController()
    for name, key, stale in history:
        argument = reference.epoch + stale if name in EPOCH_CALLS else key
        expected = call(reference, name, argument)
        step = ours.call(CALLS.index(name), argument)
        action = ACTIONS[step.action]
        assert ((action,) if action else ()) == expected.actions
        assert (step.epoch, STATES[step.state]) == (reference.epoch, reference.state)
        assert (step.held, step.released) == (len(reference.held), reference.released)
    ours.close()


@pytest.mark.parametrize("state", State)
def test_states_have_the_same_order(state: State) -> None:
    from valve_sidecar.native import STATES as NAMES

    assert NAMES[STATES.index(state)] == state.value
