/* controller.h - the drain policy, as sidecar/valve_sidecar/controller.py has it: that file is the manual,
 * its table is the source of controller_table.h, and tests walk both side by side. Pure. */
#ifndef VALVE_CONTROLLER_H
#define VALVE_CONTROLLER_H

#include <stdbool.h>
#include <stdint.h>

#include "list.h"

enum gate_state { STATE_OPEN, STATE_CLOSED, STATE_ASKING, STATE_COOLING, STATES };

enum gate_event {
  EVENT_ARRIVED,
  EVENT_DRAINED,
  EVENT_DOUBTFUL,
  EVENT_STALLED,
  EVENT_IDLE,
  EVENT_BUSY,
  EVENT_TIMER,
  EVENT_LAPSED,
  EVENTS,
};

enum gate_action {
  ACTION_NONE,
  ACTION_CLOSE,
  ACTION_OPEN,
  ACTION_ASK,
  ACTION_START_COOLDOWN,
  ACTION_START_RETRY,
};

/* What to do now; `epoch` goes back with the timer or the answer that an action asks for. */
struct step {
  enum gate_action action;
  uint64_t epoch;
};

enum holding { HOLD_NONE, HOLD_HELD, HOLD_DORMANT };

/* What the controller keeps in each request. */
struct hold {
  enum holding holding;
  struct link link;
};

struct controller {
  enum gate_state state;
  uint64_t epoch;
  struct link held, dormant; /* dormant: released for want of progress, not ended */
  uint64_t held_count;
  uint64_t released; /* times that happened */
  bool doubt;        /* a hold ended while the engine may run on */
};

void controller_init(struct controller *controller);
struct step controller_arrived(struct controller *controller, struct hold *hold);
struct step controller_progressed(struct controller *controller, struct hold *hold);
struct step controller_finished(struct controller *controller, struct hold *hold, bool sure);
struct step controller_stalled(struct controller *controller);
struct step controller_answered(struct controller *controller, uint64_t epoch, bool busy);
struct step controller_timer_fired(struct controller *controller, uint64_t epoch);
struct step controller_lapsed(struct controller *controller);

#endif
