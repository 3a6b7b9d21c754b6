/* planner.h - what the fleet planner computes in C: a fleet of continuous-batching engines under a trace, and
 * what release-on-drain makes of their idle gaps.
 *
 * An engine works in iterations. In each it takes in up to `chunk` prompt tokens, first come first served,
 * and gives every running sequence one token: step_s + sequence_s * running + token_s * prompt tokens. A
 * request's first token comes at the end of the iteration that finishes its prompt. At most `batch` requests
 * run together; later ones wait. Iterations that differ in nothing are passed in one jump.
 *
 * All times in seconds from the start of the trace. Functions return 0 or -errno (-ENOMEM; -EINVAL for
 * arrivals out of order or after the span, a group without replicas or an engine whose steps take no time).
 */
#pragma once

#include <stdint.h>

struct vlv_engine {
  double step_s, sequence_s, token_s;
  uint32_t batch, chunk;
};

struct vlv_trace {
  const double *at_s; /* ascending */
  const uint32_t *input, *output, *group;
  uint64_t count;
  double span_s; /* the fleet is watched in [0, span_s); requests that end later are followed to their end */
};

enum vlv_routing {
  VLV_ROTATE = 0,       /* the group's replicas in turn */
  VLV_LEAST_LOADED = 1, /* fewest requests in flight; among equals the next in turn */
  VLV_PACK_FIRST = 2, /* the first with fewer than pack_limit in flight and less than a chunk of prompt tokens
                       * waiting, else the least loaded */
};

struct vlv_fleet {
  uint32_t replicas, groups;
  const uint32_t *base, *size; /* group g is served by replicas [base[g], base[g] + size[g]) */
  uint32_t routing, pack_limit;
};

struct vlv_budget { /* the budget policy: TPOT SLO, and what stopping a tenant takes */
  double slo_s, stop_s;
};

struct vlv_outcome { /* arrays of the caller */
  double *first_s, *done_s;
  uint32_t *replica;           /* which one served each request */
  uint64_t *served;            /* requests by replica */
  double *gap_start, *gap_end; /* idle gaps of all replicas within the span: count + replicas at most */
  uint32_t *gap_replica;
  uint64_t gaps;
  double slice_s; /* under the budget policy: time in slices within the span, summed over replicas */
  uint64_t slices;
};

int vlv_plan_simulate(const struct vlv_engine *engine, const struct vlv_trace *trace,
                      const struct vlv_fleet *fleet, struct vlv_outcome *outcome);
/* The same under the budget policy: slices open while requests decode, and the engine stands still in them.
 * Iterations are stepped one by one, so that this costs time for each. */
int vlv_plan_simulate_budget(const struct vlv_engine *engine, const struct vlv_trace *trace,
                             const struct vlv_fleet *fleet, const struct vlv_budget *budget,
                             struct vlv_outcome *outcome);

struct vlv_gaps {
  const double *start, *end;
  uint64_t count;
  double span_s;
};

struct vlv_blocks { /* the span cut into `count` pieces of block_s; arrays of the caller, zeroed by it */
  double block_s;
  uint64_t count;
  double *drained_s, *open_s; /* summed over replicas */
  uint64_t *preemptions;
};

/* Release-on-drain: the gate opens `cooldown_s` after a gap began (at once in a gap that began with the
 * trace) and closes at its end; each close of an open gate is a preemption. */
void vlv_plan_harvest(const struct vlv_gaps *gaps, double cooldown_s, struct vlv_blocks *blocks);
