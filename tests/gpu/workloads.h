/* workloads.h - what a victim keeps its GPU busy with, one thread, until told to end. */
#ifndef GPU_KIT_WORKLOADS_H
#define GPU_KIT_WORKLOADS_H

#include "kernels.h"

struct workload_state {
  struct device device;
  struct kernels kernels;
  struct beacon beacon;
  double round_us;
  double kernel_us; /* of one kernel or copy of this workload; 0: it does not end */
  cu_object stream;
  const volatile uint64_t *beat; /* the word to watch: set by prepare() */
  _Atomic bool end;
};

struct workload {
  const char *name;
  void (*prepare)(struct workload_state *state);
  void (*run)(struct workload_state *state);
};

/* short: kernels of about 25 us; long: of 9 ms; persistent: one that does not end; graph: CUDA graphs of 16
 * short ones; htod, dtoh: copies of 1 MiB; idle: nothing. NULL if there is none of that name. */
const struct workload *workload_find(const char *name);

#endif
