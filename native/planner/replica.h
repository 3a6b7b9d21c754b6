/* replica.h - one continuous-batching engine, advanced from one point in time to another. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "planner.h"

#define NOBODY UINT32_MAX

struct running {
  uint64_t last; /* the iteration that yields its last token */
  uint32_t request;
};

/* The prompts that one iteration takes in. */
struct intake {
  uint32_t tokens, completed; /* completed: prompts finished by it, from the queue's head on */
  uint32_t left;              /* of the prompt after those */
};

struct sliced;

struct replica {
  double now_s;        /* the boundary between two iterations; meaningless while idle */
  double idle_since_s; /* meaningful while nothing is in flight */
  double change_s;     /* no request ends before */
  uint64_t iteration;
  struct running *heap; /* by `last` */
  uint32_t running, room;
  uint32_t head, tail; /* waiting for their prompt, linked by simulation.next */
  uint32_t head_left;  /* prompt tokens of the head still to take in; 0: not begun */
  uint32_t in_flight;
  uint64_t waiting;      /* prompt tokens not taken in yet */
  struct sliced *sliced; /* under the budget policy; NULL: undisturbed */
};

struct simulation {
  const struct vlv_engine *engine;
  const struct vlv_trace *trace;
  struct vlv_outcome *outcome;
  struct replica *replicas;
  uint32_t *next;
  int error;
};

/* Runs every iteration that ends by `until_s`; in_flight is then that of `until_s`, and so is `waiting`. */
void replica_advance(struct simulation *simulation, struct replica *replica, double until_s);

/* Whether an iteration that begins now takes in prompt tokens; which; and its end, at replica->now_s. */
bool replica_admits(const struct simulation *simulation, const struct replica *replica);
struct intake replica_look_ahead(const struct simulation *simulation, const struct replica *replica);
void replica_end_iteration(struct simulation *simulation, struct replica *replica, struct intake taken);

/* Tells of a gap [start_s, end_s) in which the replica had nothing to do. */
void replica_gap(struct simulation *simulation, const struct replica *replica, double end_s);

/* Hands over `request`, which arrives now; the replica has been advanced to now. */
void replica_accept(struct simulation *simulation, struct replica *replica, uint32_t request);
