/* job_ranks.h - what the rows of one job's ranks say together. */
#ifndef VALVE_JOB_RANKS_H
#define VALVE_JOB_RANKS_H

#include "valve/node.h"

struct job_ranks {
  uint32_t count;
  uint32_t stopped;     /* have acknowledged `generation` or a later one, and are stopped */
  uint32_t least_level; /* enum vlv_level: the lowest of the stopped ones' */
  uint32_t mechanism;   /* enum vlv_mechanism_id: the worst of them; NONE if none has told yet */
};

/* Of the ranks that name `runner` as theirs. Rows of the dead do not count. */
struct job_ranks job_ranks_read(const struct vlv_node *node, uint64_t runner, uint32_t generation);

#endif
