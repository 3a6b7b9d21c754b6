/* controller_table.h - generated from sidecar/valve_sidecar/controller.py by deploy/controller_table.py. */
#include "controller.h"

struct transition {
  bool exists;
  enum gate_state next;
  enum gate_action action;
};

static const struct transition transitions[STATES][EVENTS] = {
    [STATE_OPEN][EVENT_ARRIVED] = {true, STATE_CLOSED, ACTION_CLOSE},
    [STATE_CLOSED][EVENT_DRAINED] = {true, STATE_COOLING, ACTION_START_COOLDOWN},
    [STATE_CLOSED][EVENT_DOUBTFUL] = {true, STATE_ASKING, ACTION_ASK},
    [STATE_CLOSED][EVENT_STALLED] = {true, STATE_ASKING, ACTION_ASK},
    [STATE_ASKING][EVENT_ARRIVED] = {true, STATE_CLOSED, ACTION_NONE},
    [STATE_ASKING][EVENT_IDLE] = {true, STATE_COOLING, ACTION_START_COOLDOWN},
    [STATE_ASKING][EVENT_BUSY] = {true, STATE_ASKING, ACTION_START_RETRY},
    [STATE_ASKING][EVENT_TIMER] = {true, STATE_ASKING, ACTION_ASK},
    [STATE_COOLING][EVENT_ARRIVED] = {true, STATE_CLOSED, ACTION_NONE},
    [STATE_COOLING][EVENT_TIMER] = {true, STATE_OPEN, ACTION_OPEN},
    [STATE_CLOSED][EVENT_LAPSED] = {true, STATE_OPEN, ACTION_NONE},
    [STATE_ASKING][EVENT_LAPSED] = {true, STATE_OPEN, ACTION_NONE},
    [STATE_COOLING][EVENT_LAPSED] = {true, STATE_OPEN, ACTION_NONE},
};
