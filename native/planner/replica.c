#include "replica.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>

#include "sliced.h"

#define SAME_S 1e-9 /* sums of iterations differ from their products by less */

static void sift_up(struct running *heap, uint32_t at, struct running entry) {
  while (at && heap[(at - 1) / 2].last > entry.last) {
    heap[at] = heap[(at - 1) / 2];
    at = (at - 1) / 2;
  }
  heap[at] = entry;
}

static void sift_down(struct running *heap, uint32_t count, struct running entry) {
  uint32_t at = 0;
  for (uint32_t child; (child = 2 * at + 1) < count; at = child) {
    if (child + 1 < count && heap[child + 1].last < heap[child].last) child++;
    if (heap[child].last >= entry.last) break;
    heap[at] = heap[child];
  }
  heap[at] = entry;
}

static void start_decoding(struct simulation *simulation, struct replica *replica, struct running entry) {
  if (replica->running == replica->room) {
    uint32_t room = replica->room ? 2 * replica->room : 8;
    struct running *heap = realloc(replica->heap, room * sizeof(*heap));
    if (!heap) {
      simulation->error = -ENOMEM;
      return;
    }
    replica->heap = heap;
    replica->room = room;
  }
  sift_up(replica->heap, replica->running++, entry);
}

static void finish(struct simulation *simulation, struct replica *replica, uint32_t request) {
  simulation->outcome->done_s[request] = replica->now_s;
  if (replica->sliced != NULL) sliced_finished(simulation, replica, request);
  if (--replica->in_flight == 0) replica->idle_since_s = replica->now_s;
}

static void finish_due(struct simulation *simulation, struct replica *replica) {
  while (replica->running && replica->heap[0].last <= replica->iteration) {
    uint32_t request = replica->heap[0].request;
    struct running moved = replica->heap[--replica->running];
    if (replica->running) sift_down(replica->heap, replica->running, moved);
    finish(simulation, replica, request);
  }
}

bool replica_admits(const struct simulation *simulation, const struct replica *replica) {
  return replica->head != NOBODY && replica->running < simulation->engine->batch &&
         simulation->trace->at_s[replica->head] <= replica->now_s + SAME_S;
}

struct intake replica_look_ahead(const struct simulation *simulation, const struct replica *replica) {
  const struct vlv_engine *engine = simulation->engine;
  struct intake intake = {.left = replica->head_left};
  for (uint32_t request = replica->head; request != NOBODY; request = simulation->next[request]) {
    if (replica->running + intake.completed >= engine->batch || intake.tokens >= engine->chunk) break;
    if (simulation->trace->at_s[request] > replica->now_s + SAME_S) break;
    uint32_t wanted = intake.left ? intake.left : simulation->trace->input[request];
    uint32_t taken = wanted < engine->chunk - intake.tokens ? wanted : engine->chunk - intake.tokens;
    intake.tokens += taken;
    intake.left = wanted - taken;
    if (intake.left) break;
    intake.completed++;
  }
  return intake;
}

static void give_first_token(struct simulation *simulation, struct replica *replica) {
  uint32_t request = replica->head, output = simulation->trace->output[request];
  replica->head = simulation->next[request];
  simulation->outcome->first_s[request] = replica->now_s;
  if (replica->sliced != NULL) sliced_first_token(simulation, replica, request);
  if (output <= 1)
    finish(simulation, replica, request);
  else
    start_decoding(simulation, replica, (struct running){replica->iteration + output - 1, request});
}

void replica_end_iteration(struct simulation *simulation, struct replica *replica, struct intake taken) {
  replica->iteration++;
  finish_due(simulation, replica);
  for (uint32_t i = 0; i < taken.completed; i++) give_first_token(simulation, replica);
  if (taken.tokens > 0) replica->head_left = taken.left;
  replica->waiting -= taken.tokens;
}

/* One iteration with prompt tokens; false if it does not end by `until_s`. */
static bool take_in(struct simulation *simulation, struct replica *replica, double until_s) {
  const struct vlv_engine *engine = simulation->engine;
  struct intake intake = replica_look_ahead(simulation, replica);
  double end_s = replica->now_s + engine->step_s + engine->sequence_s * replica->running +
                 engine->token_s * intake.tokens;
  if (end_s > until_s) {
    replica->change_s = end_s;
    return false;
  }
  replica->now_s = end_s;
  replica_end_iteration(simulation, replica, intake);
  return true;
}

/* As many equal iterations as can pass; false if none ends by `until_s`. */
static bool decode(struct simulation *simulation, struct replica *replica, double until_s) {
  const struct vlv_engine *engine = simulation->engine;
  double iteration_s = engine->step_s + engine->sequence_s * replica->running;
  double count = (double)(replica->heap[0].last - replica->iteration);
  bool waits = replica->head != NOBODY && replica->running < engine->batch;
  if (waits) { /* for the boundary after its arrival */
    double before = ceil((simulation->trace->at_s[replica->head] - replica->now_s - SAME_S) / iteration_s);
    if (before < count) count = before > 1 ? before : 1;
  }
  replica->change_s = replica->now_s + (waits ? 1 : count) * iteration_s;
  double possible = floor((until_s - replica->now_s + SAME_S) / iteration_s);
  if (possible < count) count = possible;
  if (count < 1) return false;
  replica->now_s += count * iteration_s;
  replica->iteration += (uint64_t)count;
  finish_due(simulation, replica);
  return true;
}

void replica_advance(struct simulation *simulation, struct replica *replica, double until_s) {
  if (replica->sliced != NULL) return sliced_advance(simulation, replica, until_s);
  if (replica->change_s > until_s && replica->head == NOBODY) return;
  bool moved = true;
  while (moved && replica->in_flight && !simulation->error)
    moved = replica_admits(simulation, replica) ? take_in(simulation, replica, until_s)
                                                : decode(simulation, replica, until_s);
}

void replica_gap(struct simulation *simulation, const struct replica *replica, double end_s) {
  struct vlv_outcome *outcome = simulation->outcome;
  if (replica->idle_since_s >= end_s) return;
  outcome->gap_start[outcome->gaps] = replica->idle_since_s;
  outcome->gap_end[outcome->gaps] = end_s;
  outcome->gap_replica[outcome->gaps++] = (uint32_t)(replica - simulation->replicas);
}

void replica_accept(struct simulation *simulation, struct replica *replica, uint32_t request) {
  double at_s = simulation->trace->at_s[request];
  if (replica->sliced != NULL) sliced_arrival(replica, at_s);
  if (replica->in_flight++ == 0) {
    replica_gap(simulation, replica, at_s);
    replica->now_s = at_s;
  }
  simulation->next[request] = NOBODY;
  if (replica->head == NOBODY)
    replica->head = request;
  else
    simulation->next[replica->tail] = request;
  replica->tail = request;
  replica->waiting += simulation->trace->input[request];
  replica->change_s = at_s;
}
