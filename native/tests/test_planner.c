/* The planner's simulation under every routing: nothing is lost, time adds up. What it computes is held
 * against a naive simulation in tests/loadgen/plan; this one is for the sanitizers. */
#include <stdlib.h>

#include "node_scratch.h"
#include "planner.h"

#define COUNT 5000u
#define REPLICAS 7u
#define SPAN_S 300.0

static double at_s[COUNT], first_s[COUNT], done_s[COUNT], gap_start[COUNT + REPLICAS],
    gap_end[COUNT + REPLICAS];
static uint32_t input[COUNT], output[COUNT], group[COUNT], replica[COUNT], gap_replica[COUNT + REPLICAS];
static uint64_t served[REPLICAS];

static const struct vlv_engine ENGINE = {0.008, 80e-6, 1 / 30000.0, 16, 2048};
static const struct vlv_trace TRACE = {at_s, input, output, group, COUNT, SPAN_S};

static int later(const void *a, const void *b) {
  double left = *(const double *)a, right = *(const double *)b;
  return (left > right) - (left < right);
}

static void draw_trace(void) {
  srand(1);
  for (uint32_t i = 0; i < COUNT; i++) {
    at_s[i] = SPAN_S * rand() / ((double)RAND_MAX + 1);
    input[i] = (uint32_t)rand() % 5000;
    output[i] = (uint32_t)rand() % 200;
    group[i] = (uint32_t)rand() % 2;
  }
  qsort(at_s, COUNT, sizeof(*at_s), later);
}

static struct vlv_outcome run(uint32_t routing) {
  static const uint32_t base[] = {0, 4}, size[] = {4, 3};
  struct vlv_fleet fleet = {REPLICAS, 2, base, size, routing, 8};
  struct vlv_outcome outcome = {.first_s = first_s,
                                .done_s = done_s,
                                .replica = replica,
                                .served = served,
                                .gap_start = gap_start,
                                .gap_end = gap_end,
                                .gap_replica = gap_replica};
  for (uint32_t i = 0; i < REPLICAS; i++) served[i] = 0;
  CHECK(vlv_plan_simulate(&ENGINE, &TRACE, &fleet, &outcome) == 0);
  return outcome;
}

static void nothing_is_lost(uint32_t routing) {
  struct vlv_outcome outcome = run(routing);
  uint64_t total = 0, told[REPLICAS] = {0};
  for (uint32_t i = 0; i < COUNT; i++) told[replica[i]]++;
  for (uint32_t i = 0; i < REPLICAS; i++) {
    CHECK(told[i] == served[i]);
    total += served[i];
  }
  CHECK(total == COUNT && outcome.gaps <= COUNT + REPLICAS);
  for (uint32_t i = 0; i < COUNT; i++) CHECK(at_s[i] < first_s[i] && first_s[i] <= done_s[i]);
}

static void gaps_of_a_replica_follow_each_other(uint32_t routing) {
  struct vlv_outcome outcome = run(routing);
  double last_s[REPLICAS] = {0};
  for (uint64_t i = 0; i < outcome.gaps; i++) {
    CHECK(gap_replica[i] < REPLICAS && last_s[gap_replica[i]] <= gap_start[i]);
    CHECK(gap_start[i] < gap_end[i] && gap_end[i] <= SPAN_S);
    last_s[gap_replica[i]] = gap_end[i];
  }
}

static void blocks_share_out_the_gaps(void) {
  struct vlv_outcome outcome = run(VLV_ROTATE);
  double drained_s[13] = {0}, open_s[13] = {0}, expected_s = 0, found_s = 0;
  uint64_t preemptions[13] = {0};
  struct vlv_blocks blocks = {23.0, 13, drained_s, open_s, preemptions};
  struct vlv_gaps gaps = {gap_start, gap_end, outcome.gaps, SPAN_S};
  vlv_plan_harvest(&gaps, 0.1, &blocks);
  for (uint64_t i = 0; i < outcome.gaps; i++) expected_s += gap_end[i] - gap_start[i];
  for (uint32_t i = 0; i < 13; i++) {
    CHECK(open_s[i] <= drained_s[i] && drained_s[i] <= REPLICAS * 24.1);
    found_s += drained_s[i];
  }
  CHECK(found_s > expected_s - 1e-6 && found_s < expected_s + 1e-6);
}

int main(void) {
  draw_trace();
  for (uint32_t routing = VLV_ROTATE; routing <= VLV_PACK_FIRST; routing++) {
    nothing_is_lost(routing);
    gaps_of_a_replica_follow_each_other(routing);
  }
  blocks_share_out_the_gaps();
  return 0;
}
