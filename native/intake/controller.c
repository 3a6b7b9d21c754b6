#include "controller.h"

#include "controller_table.h"

static struct step nothing(const struct controller *controller) {
  return (struct step){ACTION_NONE, controller->epoch};
}

static void enter(struct controller *controller, enum gate_state state) {
  controller->state = state;
  controller->epoch++;
  if (state == STATE_COOLING || state == STATE_OPEN) controller->doubt = false;
}

static struct step apply(struct controller *controller, enum gate_event event) {
  const struct transition *transition = &transitions[controller->state][event];
  if (!transition->exists) return nothing(controller);
  enter(controller, transition->next);
  return (struct step){transition->action, controller->epoch};
}

static void let_go(struct controller *controller, struct hold *hold) {
  if (hold->holding == HOLD_HELD) controller->held_count--;
  hold->holding = HOLD_NONE;
  list_remove(&hold->link);
}

void controller_init(struct controller *controller) {
  *controller = (struct controller){.state = STATE_OPEN};
  list_init(&controller->held);
  list_init(&controller->dormant);
}

struct step controller_arrived(struct controller *controller, struct hold *hold) {
  hold->holding = HOLD_HELD;
  controller->held_count++;
  list_append(&controller->held, &hold->link);
  return apply(controller, EVENT_ARRIVED);
}

struct step controller_progressed(struct controller *controller, struct hold *hold) {
  if (hold->holding != HOLD_DORMANT) return nothing(controller);
  return controller_arrived(controller, hold);
}

struct step controller_finished(struct controller *controller, struct hold *hold, bool sure) {
  bool held = hold->holding == HOLD_HELD;
  let_go(controller, hold);
  if (!held) return nothing(controller);
  controller->doubt = controller->doubt || !sure;
  if (controller->held_count > 0) return nothing(controller);
  return apply(controller, controller->doubt ? EVENT_DOUBTFUL : EVENT_DRAINED);
}

struct step controller_stalled(struct controller *controller) {
  return apply(controller, EVENT_STALLED);
}

static void release(struct controller *controller) {
  controller->released += controller->held_count;
  while (!list_empty(&controller->held)) {
    struct hold *hold = member_of(struct hold, link, controller->held.next);
    let_go(controller, hold);
    hold->holding = HOLD_DORMANT;
    list_append(&controller->dormant, &hold->link);
  }
  controller->doubt = false;
}

struct step controller_answered(struct controller *controller, uint64_t epoch, bool busy) {
  if (epoch != controller->epoch) return nothing(controller);
  if (busy && controller->held_count > 0) { /* the stall was the engine's long silence: keep holding */
    enter(controller, STATE_CLOSED);
    return nothing(controller);
  }
  if (!busy) release(controller);
  return apply(controller, busy ? EVENT_BUSY : EVENT_IDLE);
}

struct step controller_timer_fired(struct controller *controller, uint64_t epoch) {
  return epoch == controller->epoch ? apply(controller, EVENT_TIMER) : nothing(controller);
}

static void forget(struct controller *controller, struct link *list) {
  while (!list_empty(list)) let_go(controller, member_of(struct hold, link, list->next));
}

struct step controller_lapsed(struct controller *controller) {
  forget(controller, &controller->held);
  forget(controller, &controller->dormant);
  controller->doubt = false;
  return apply(controller, EVENT_LAPSED);
}
