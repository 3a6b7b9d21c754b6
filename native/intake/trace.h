/* trace.h - a request's place in its trace: joins the client's traceparent, or begins a trace of its own.
 *
 * W3C Trace Context, level 1, as sidecar/valve_sidecar/trace.py has it. Pure but for the seed of the ids.
 */
#ifndef VALVE_TRACE_H
#define VALVE_TRACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "valve/plane.h"

struct trace {
  uint64_t high, low; /* the trace's id */
  uint64_t span;      /* ours; 0: not traced */
  uint64_t parent;    /* 0: the first span of its trace */
};

struct tracer {
  double share; /* of the requests whose client has not decided; below 0: nothing is traced */
  uint64_t random;
};

void tracer_init(struct tracer *tracer, double share);
/* Decides at arrival: a client that has decided is followed. */
struct trace trace_begin(struct tracer *tracer, const char *header, size_t len);
/* What the engine is told, so that its spans become children of ours. */
void trace_write(const struct trace *trace, char out[VLV_TRACEPARENT_LEN]);

/* A valid header: the trace's id, the client's span as the parent, and its flags. */
bool traceparent_read(const char *header, size_t len, struct trace *trace, unsigned *flags);

#endif
