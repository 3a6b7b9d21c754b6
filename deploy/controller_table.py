"""Prints native/intake/controller_table.h: the drain policy's table, as controller.py has it.

`python deploy/controller_table.py > native/intake/controller_table.h` after a change of that table.
"""

from valve_sidecar.controller import TABLE, Action, Event, State

HEADER = """\
/* controller_table.h - generated from sidecar/valve_sidecar/controller.py by deploy/controller_table.py. */
#include "controller.h"

struct transition {
  bool exists;
  enum gate_state next;
  enum gate_action action;
};

static const struct transition transitions[STATES][EVENTS] = {
"""


def line(state: State, event: Event, next_state: State, actions: tuple[Action, ...]) -> str:
    """The table in C holds one action at most."""
    (action,) = actions or (None,)
    name = "NONE" if action is None else action.name
    return (
        f"    [STATE_{state.name}][EVENT_{event.name}] = {{true, STATE_{next_state.name}, ACTION_{name}}},\n"
    )


def table() -> str:
    rows = [line(state, event, *result) for (state, event), result in TABLE.items()]
    return HEADER + "".join(rows) + "};\n"


if __name__ == "__main__":
    print(table(), end="")
