/* turn.h - the agent's state machine, one turn at a time; the thread around it is agent.c. */
#ifndef VALVE_TURN_H
#define VALVE_TURN_H

#include "breather.h"
#include "tenant.h"
#include "valve/agent.h"

enum phase {
  PHASE_RUNNING,
  PHASE_STOPPING, /* asked, or still to be asked, to stop; not seen stopped */
  PHASE_STOPPED,
  PHASE_RESUMING,  /* resume failed and is tried again */
  PHASE_BREATHING, /* runs although the gate is closed */
};

struct turn {
  struct vlv_tenant *tenant;
  const struct vlv_mechanism *mechanism;
  void *context;
  enum phase phase;
  bool asked;           /* while stopping: stop() has succeeded */
  bool recorded;        /* the ring already tells of this stop */
  bool slow;            /* this stop is already counted as slow */
  uint32_t generation;  /* as read at the beginning of this turn */
  uint64_t now_ns;      /* the clock at the beginning of this turn */
  uint64_t woken_ns;    /* out of the wait that led to the present stop */
  uint64_t asked_ns;    /* the present stop began */
  uint64_t guard_at_ns; /* next look at a stopped tenant and at the holders that keep it stopped */
  uint64_t retry_at_ns; /* after an error of the mechanism: not before */
  uint64_t retry_ns;    /* how long the next such pause is */
  struct breather breather;
};

void turn_init(struct turn *turn, struct vlv_tenant *tenant, const struct vlv_mechanism *mechanism,
               void *context);
/* Reads the generation, evaluates the rule, takes the next step towards what it says and acknowledges.
 * `now_ns`: the clock, read just before. Returns until when to sleep on turn->generation; 0: go on at once.
 */
uint64_t turn_take(struct turn *turn, uint64_t now_ns);
/* What the last turn found is applied: the tenant runs (or breathes), or all of it was seen stopped. */
bool turn_is_settled(const struct turn *turn);
/* Lets the tenant run, whatever the gate says: the agent leaves. false: it has to be tried again. */
bool turn_leave(struct turn *turn);

#endif
