#include "planner.h"

#define API __attribute__((visibility("default")))

/* The last block also takes what lies behind it. */
static uint64_t block_of(const struct vlv_blocks *blocks, double at_s) {
  uint64_t block = (uint64_t)(at_s / blocks->block_s);
  return block < blocks->count ? block : blocks->count - 1;
}

/* Adds the length of [start_s, end_s) to the blocks that it lies in. */
static void spread(const struct vlv_blocks *blocks, double *sums_s, double start_s, double end_s) {
  for (uint64_t block = block_of(blocks, start_s); start_s < end_s; block++) {
    double edge_s = (double)(block + 1) * blocks->block_s;
    double until_s = edge_s < end_s && block + 1 < blocks->count ? edge_s : end_s;
    if (until_s <= start_s) continue; /* rounding put start_s on the edge */
    sums_s[block] += until_s - start_s;
    start_s = until_s;
  }
}

API void vlv_plan_harvest(const struct vlv_gaps *gaps, double cooldown_s, struct vlv_blocks *blocks) {
  for (uint64_t i = 0; i < gaps->count; i++) {
    double start_s = gaps->start[i], end_s = gaps->end[i];
    double open_s = start_s > 0 ? start_s + cooldown_s : 0;
    spread(blocks, blocks->drained_s, start_s, end_s);
    if (open_s >= end_s) continue;
    spread(blocks, blocks->open_s, open_s, end_s);
    if (end_s < gaps->span_s) blocks->preemptions[block_of(blocks, end_s)]++;
  }
}
