/* cooldown.h - how long to wait between drained and resume, as sidecar/valve_sidecar/cooldown.py has it.
 * Pure.
 */
#ifndef VALVE_COOLDOWN_H
#define VALVE_COOLDOWN_H

#include <stdbool.h>
#include <stdint.h>

#define COOLDOWN_WINDOW 64

struct cooldown {
  uint64_t fixed_ns; /* UINT64_MAX: twice the largest recent decode gap */
  uint64_t gaps_ns[COOLDOWN_WINDOW];
  uint64_t count; /* of gaps seen */
  int64_t prefills;
  uint64_t prefill_ended_ns;
};

void cooldown_observe(struct cooldown *cooldown, uint64_t max_gap_ns);
uint64_t cooldown_duration_ns(const struct cooldown *cooldown);
void prefill_began(struct cooldown *cooldown);
void prefill_ended(struct cooldown *cooldown, uint64_t now_ns);
/* 0 if a prompt was being processed in the gap. */
uint64_t decode_gap_ns(const struct cooldown *cooldown, uint64_t last_token_ns, uint64_t now_ns);

#endif
