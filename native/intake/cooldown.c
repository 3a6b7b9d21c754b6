#include "cooldown.h"

#define FLOOR_NS 50000000ull
#define CEILING_NS 200000000ull

void cooldown_observe(struct cooldown *cooldown, uint64_t max_gap_ns) {
  if (max_gap_ns > 0) cooldown->gaps_ns[cooldown->count++ % COOLDOWN_WINDOW] = max_gap_ns;
}

static uint64_t largest(const struct cooldown *cooldown) {
  uint64_t most = 0;
  for (int i = 0; i < COOLDOWN_WINDOW; i++)
    if (cooldown->gaps_ns[i] > most) most = cooldown->gaps_ns[i];
  return most;
}

uint64_t cooldown_duration_ns(const struct cooldown *cooldown) {
  if (cooldown->fixed_ns != UINT64_MAX) return cooldown->fixed_ns;
  uint64_t twice_ns = 2 * largest(cooldown);
  if (twice_ns < FLOOR_NS) return FLOOR_NS;
  return twice_ns > CEILING_NS ? CEILING_NS : twice_ns;
}

void prefill_began(struct cooldown *cooldown) {
  cooldown->prefills++;
}

void prefill_ended(struct cooldown *cooldown, uint64_t now_ns) {
  cooldown->prefills--;
  cooldown->prefill_ended_ns = now_ns;
}

uint64_t decode_gap_ns(const struct cooldown *cooldown, uint64_t last_token_ns, uint64_t now_ns) {
  bool disturbed = cooldown->prefills > 0 || cooldown->prefill_ended_ns > last_token_ns;
  return disturbed ? 0 : now_ns - last_token_ns;
}
