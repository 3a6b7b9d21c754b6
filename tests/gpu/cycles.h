/* cycles.h - closes and opens a victim's gate again and again, and measures each time from call to effect. */
#ifndef GPU_KIT_CYCLES_H
#define GPU_KIT_CYCLES_H

#include "figures.h"
#include "pulse.h"

struct cycle_plan {
  uint32_t count;
  uint32_t hold_us_min, hold_us_max; /* closed for so long, uniformly */
  uint32_t run_us_min, run_us_max;
  uint64_t seed;
};

/* All in us. "stopped": call to the last change of the heartbeat that was ever seen before opening, 0 if it
 * had stood still before. "resumed": call of open to the first change. */
struct cycle_figures {
  struct figures closed_call, stopped, open_call, resumed;
  uint32_t leaks; /* cycles in which the heartbeat went on after the call's return and 100 us */
  uint32_t stuck; /* cycles after which it did not come back within 2 s */
  uint32_t errors;
  int32_t last_error;
};

/* How the gate is worked: both return when it is done, 0 or an error. */
struct cycle_gate {
  int (*close)(void *context);
  int (*open)(void *context);
  void *context;
};

/* Stops early after 5 errors or stuck cycles: something is wrong, and time is short. */
void cycles_run(const struct cycle_plan *plan, const struct cycle_gate *gate, struct pulse *pulse,
                struct cycle_figures *out);

#endif
