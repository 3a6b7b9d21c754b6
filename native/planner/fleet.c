#include <errno.h>
#include <math.h>
#include <stdlib.h>

#include "sliced.h"

#define API __attribute__((visibility("default")))

struct fleet_state {
  struct simulation simulation;
  const struct vlv_fleet *fleet;
  struct replica *replicas;
  uint32_t *turn; /* by a group's first replica: whose turn it is; groups with the same replicas share it */
};

static uint32_t in_flight(struct fleet_state *state, uint32_t replica, double at_s) {
  replica_advance(&state->simulation, &state->replicas[replica], at_s);
  return state->replicas[replica].in_flight;
}

static uint32_t least_loaded(struct fleet_state *state, uint32_t group, double at_s) {
  uint32_t base = state->fleet->base[group], size = state->fleet->size[group], turn = state->turn[base];
  uint32_t best = NOBODY, fewest = UINT32_MAX;
  for (uint32_t i = 0; i < size && fewest > 0; i++) {
    uint32_t replica = base + (turn + i < size ? turn + i : turn + i - size);
    uint32_t load = in_flight(state, replica, at_s);
    if (load < fewest) best = replica, fewest = load;
  }
  state->turn[base] = (best - base + 1) % size;
  return best;
}

static uint32_t rotate(struct fleet_state *state, uint32_t group) {
  uint32_t base = state->fleet->base[group], turn = state->turn[base];
  state->turn[base] = (turn + 1) % state->fleet->size[group];
  return base + turn;
}

static uint32_t pack_first(struct fleet_state *state, uint32_t group, double at_s) {
  uint32_t base = state->fleet->base[group], size = state->fleet->size[group];
  for (uint32_t replica = base; replica < base + size; replica++)
    if (in_flight(state, replica, at_s) < state->fleet->pack_limit &&
        state->replicas[replica].waiting < state->simulation.engine->chunk)
      return replica;
  return least_loaded(state, group, at_s);
}

static uint32_t route(struct fleet_state *state, uint32_t request) {
  uint32_t group = state->simulation.trace->group[request];
  double at_s = state->simulation.trace->at_s[request];
  switch (state->fleet->routing) {
    case VLV_LEAST_LOADED:
      return least_loaded(state, group, at_s);
    case VLV_PACK_FIRST:
      return pack_first(state, group, at_s);
    default:
      return rotate(state, group);
  }
}

static void run(struct fleet_state *state) {
  struct simulation *simulation = &state->simulation;
  for (uint32_t request = 0; request < simulation->trace->count && !simulation->error; request++) {
    uint32_t chosen = route(state, request);
    replica_advance(simulation, &state->replicas[chosen], simulation->trace->at_s[request]);
    replica_accept(simulation, &state->replicas[chosen], request);
    simulation->outcome->replica[request] = chosen;
    simulation->outcome->served[chosen]++;
  }
}

static void run_out(struct fleet_state *state) {
  for (uint32_t i = 0; i < state->fleet->replicas; i++) {
    struct replica *replica = &state->replicas[i];
    replica->change_s = 0;
    replica_advance(&state->simulation, replica, INFINITY);
    replica_gap(&state->simulation, replica, state->simulation.trace->span_s);
  }
}

static int check(const struct vlv_engine *engine, const struct vlv_trace *trace,
                 const struct vlv_fleet *fleet) {
  if (!(engine->step_s > 0) || !engine->batch || !engine->chunk || trace->count >= NOBODY) return -EINVAL;
  for (uint32_t g = 0; g < fleet->groups; g++)
    if (!fleet->size[g] || (uint64_t)fleet->base[g] + fleet->size[g] > fleet->replicas) return -EINVAL;
  double before_s = 0;
  for (uint64_t i = 0; i < trace->count; before_s = trace->at_s[i++])
    if (!(trace->at_s[i] >= before_s) || trace->group[i] >= fleet->groups) return -EINVAL;
  return before_s <= trace->span_s ? 0 : -EINVAL;
}

static void watch(struct fleet_state *state, struct sliced *sliced, const struct vlv_budget *budget) {
  for (uint32_t i = 0; i < state->fleet->replicas; i++) {
    state->replicas[i].head = NOBODY;
    if (budget == NULL) continue;
    sliced_init(&sliced[i], budget);
    state->replicas[i].sliced = &sliced[i];
  }
}

static void add_slices(struct vlv_outcome *outcome, const struct sliced *sliced, uint32_t replicas) {
  outcome->slice_s = 0;
  outcome->slices = 0;
  for (uint32_t i = 0; i < replicas; i++) {
    outcome->slice_s += (double)sliced[i].open_ns / 1e9;
    outcome->slices += sliced[i].slices;
  }
}

API int vlv_plan_simulate_budget(const struct vlv_engine *engine, const struct vlv_trace *trace,
                                 const struct vlv_fleet *fleet, const struct vlv_budget *budget,
                                 struct vlv_outcome *outcome) {
  int error = check(engine, trace, fleet);
  if (error) return error;
  if (budget != NULL && !(budget->slo_s > 0 && budget->stop_s >= 0)) return -EINVAL;
  struct replica *replicas = calloc(fleet->replicas, sizeof(*replicas));
  struct sliced *sliced = calloc(fleet->replicas, sizeof(*sliced));
  struct fleet_state state = {
      .simulation = {engine, trace, outcome, replicas, malloc((trace->count + 1) * sizeof(uint32_t)), 0},
      .fleet = fleet,
      .replicas = replicas,
      .turn = calloc(fleet->replicas, sizeof(uint32_t)),
  };
  outcome->gaps = 0;
  if (state.simulation.next && state.replicas && state.turn && sliced) {
    watch(&state, sliced, budget);
    run(&state);
    run_out(&state);
    add_slices(outcome, sliced, fleet->replicas);
  } else {
    state.simulation.error = -ENOMEM;
  }
  for (uint32_t i = 0; state.replicas && i < fleet->replicas; i++) free(state.replicas[i].heap);
  free(state.simulation.next);
  free(state.replicas);
  free(state.turn);
  free(sliced);
  return state.simulation.error;
}

API int vlv_plan_simulate(const struct vlv_engine *engine, const struct vlv_trace *trace,
                          const struct vlv_fleet *fleet, struct vlv_outcome *outcome) {
  return vlv_plan_simulate_budget(engine, trace, fleet, NULL, outcome);
}
