/* ladder.h - the shim's mechanism for the agent: channels, and launch where those are refused.
 *
 * Escalation within a process; the step to the freezer is `valve run`'s (valve/job.h). Goes back up when a
 * later probe succeeds: while running on launch, channels are tried again every LADDER_RETRY stops.
 */
#ifndef VALVE_PRELOAD_LADDER_H
#define VALVE_PRELOAD_LADDER_H

#include "channels.h"
#include "launch.h"
#include "valve/agent.h"

#define LADDER_RETRY 64u

struct ladder {
  struct channels *channels;
  struct launch *launch;
  bool by_launch;
  uint32_t stops_by_launch;
};

/* COMPUTE_HALTED by channels, SUBMISSION_STOPPED by launch. Context: the struct ladder. */
const struct vlv_mechanism *ladder_mechanism(void);

#endif
