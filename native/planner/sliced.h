/* sliced.h - a replica under the budget policy: the sidecar's own controller (native/intake/budget.c) opens
 * the gate in slices, in which the engine stands still: the worst that a neighbour can do to it. */
#pragma once

#include "budget.h"
#include "replica.h"

struct sliced {
  struct budget budget;
  uint64_t stop_ns;
  uint64_t clock_ns;
  uint64_t left_ns;   /* of the present iteration; 0: none has begun */
  uint64_t last_ns;   /* latest iteration's end: each running stream had a token then */
  uint64_t opened_ns; /* latest slice */
  uint64_t look_ns;   /* when the policy is asked again */
  uint64_t open_ns;   /* in slices, within the span; so is the next */
  uint64_t slices;
  int64_t poorest_ns;  /* least of first token - SLO x its iteration, over running requests */
  struct intake taken; /* by the present iteration */
  struct account pace; /* for the engine's baseline */
};

void sliced_init(struct sliced *sliced, const struct vlv_budget *goal);
/* As replica_advance(). */
void sliced_advance(struct simulation *simulation, struct replica *replica, double until_s);
/* A request arrives at the replica now. */
void sliced_arrival(struct replica *replica, double at_s);
void sliced_first_token(const struct simulation *simulation, struct replica *replica, uint32_t request);
void sliced_finished(const struct simulation *simulation, struct replica *replica, uint32_t request);
