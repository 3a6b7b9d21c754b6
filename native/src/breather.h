/* breather.h - the account of a tenant that may not stay stopped for longer than it can bear (docs/adr/0007).
 *
 * A slice is VLV_BREATHER_NS of running, in one piece or several. One is owed from max_stopped after the
 * last one was complete. What is owed is paid while the tenant is stopped: it runs for the rest of the slice
 * although its gate is closed. Pure: stamps in, stamps out. */
#ifndef VALVE_BREATHER_H
#define VALVE_BREATHER_H

#include <stdbool.h>
#include <stdint.h>

struct breather {
  uint64_t ran_ns;           /* of the present slice, up to the last stop */
  uint64_t running_since_ns; /* 0: it is stopped */
  uint64_t slice_ended_ns;   /* the last whole slice, or the beginning */
};

void breather_begin(struct breather *breather, uint64_t now_ns); /* running */
void breather_stopped(struct breather *breather, uint64_t now_ns);
void breather_resumed(struct breather *breather, uint64_t now_ns);
/* Of a stopped tenant: when a slice is owed; UINT64_MAX if max_stopped_ns is 0. */
uint64_t breather_due_ns(const struct breather *breather, uint64_t max_stopped_ns);
/* What is left of the slice: more than 0, not more than VLV_BREATHER_NS. */
uint64_t breather_left_ns(const struct breather *breather);

#endif
