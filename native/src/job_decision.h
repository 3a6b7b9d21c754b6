/* job_decision.h - what the mechanism of a GPU job does next: one pure function, no I/O.
 *
 * While the tree runs, its ranks are asked first, also where a freeze is certain to follow: a frozen process
 * cannot take its channels off the hardware any more. The freeze comes
 *   - when all ranks have halted, but there is none at all, or a process uses a GPU without being one;
 *   - when some rank has not acknowledged in time.
 */
#ifndef VALVE_JOB_DECISION_H
#define VALVE_JOB_DECISION_H

#include "valve/job.h"

enum job_freeze {
  JOB_THAWED,
  JOB_FREEZING, /* asked; not seen frozen */
  JOB_FROZEN,
};

struct job_seen {
  uint32_t ranks, stopped; /* how many there are; how many of them have acknowledged this stop */
  uint32_t least_level;    /* enum vlv_level: the lowest of the stopped ones' */
  uint32_t unshimmed;      /* processes that use a GPU without being a rank */
  uint64_t waited_ns;      /* since the stop was asked for */
  enum job_freeze freeze;
};

enum job_step { JOB_WAIT, JOB_FREEZE, JOB_ACKNOWLEDGE };

struct job_decision {
  enum job_step step;
  uint32_t level; /* with JOB_ACKNOWLEDGE: enum vlv_level; else VLV_LEVEL_RUNNING */
};

struct job_decision job_decide(const struct job_seen *seen);

#endif
