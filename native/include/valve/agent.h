/* valve/agent.h - the tenant's agent: one thread that waits on the gate and makes a mechanism obey it. */
#ifndef VALVE_AGENT_H
#define VALVE_AGENT_H

#include "valve/node.h"

/* A mechanism: how compute is stopped. All calls come from the agent's thread; none may block for longer than
 * a few hundred microseconds (the gate may open again meanwhile). */
struct vlv_mechanism {
  /* Asks everything to stop. 0 or -errno. */
  int (*stop)(void *context);
  /* > 0: the enum vlv_level reached, by everything; 0: not yet, call again; -errno. */
  int (*confirm)(void *context);
  /* Lets everything run. 0 or -errno. */
  int (*resume)(void *context);
  /* Called every VLV_GUARD_NS while stopped: stops again what someone else continued. How many, or -errno:
   * something may run. Either way it has to be confirmed again, after an error also asked again. */
  int (*guard)(void *context);
  /* For the tenant row: enum vlv_mechanism_id in use now (it may change by escalation). */
  uint32_t (*id)(void *context);
  /* For the tenant row, after a stop: how many processes there are / threads that have not stopped. May be
   * NULL. */
  uint32_t (*processes)(void *context);
  uint32_t (*unstopped_threads)(void *context);
};

struct vlv_agent;

/* Starts the thread (real-time priority where permitted). It owns `tenant`'s row from now on; mechanism and
 * context must live until vlv_agent_stop(). An error of the mechanism is counted and the call repeated, after
 * 1 ms at first and 1 s at last. A stop that the gate's opening cut short leaves a "resumed" entry without a
 * "stopped" one. */
VLV_API int vlv_agent_start(struct vlv_tenant *tenant, const struct vlv_mechanism *mechanism, void *context,
                            struct vlv_agent **out);
/* Waits until the first evaluation has been applied and acknowledged (so a tenant that joins while the gate
 * is closed starts stopped). 0 or -ETIMEDOUT. */
VLV_API int vlv_agent_wait_ready(struct vlv_agent *agent, uint64_t timeout_ns);
/* Ends the thread, leaves the tenant running (a resume that fails is tried for half a second), frees the
 * agent, not the tenant. */
VLV_API void vlv_agent_stop(struct vlv_agent *agent);

#endif
