/* latencies.h - how long requests took, counted as they end: histograms for each kind of request and end. */
#ifndef VALVE_LATENCIES_H
#define VALVE_LATENCIES_H

#include "flight.h"

#define MODELS_MAX 32 /* an engine's answer may name any model: beyond these they are one series, "other" */

struct latencies {
  uint64_t bounds_ns[VLV_LATENCIES][VLV_LATENCY_BOUNDS];
  VLV_ATOMIC(struct vlv_series *) first; /* written by one thread; any may follow it */
  struct vlv_series *last;
  unsigned models;
};

/* An ended request, once what its answer told has been read. Not counted where there is no memory for a new
 * series. */
void latencies_count(struct latencies *latencies, const struct flight *flight);
void latencies_free(struct latencies *latencies);

#endif
