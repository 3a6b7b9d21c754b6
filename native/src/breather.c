#include "breather.h"

#include "valve/node.h"

void breather_begin(struct breather *breather, uint64_t now_ns) {
  *breather = (struct breather){.running_since_ns = now_ns, .slice_ended_ns = now_ns};
}

void breather_stopped(struct breather *breather, uint64_t now_ns) {
  if (breather->running_since_ns == 0) return;
  breather->ran_ns += now_ns - breather->running_since_ns;
  breather->running_since_ns = 0;
  if (breather->ran_ns < VLV_BREATHER_NS) return;
  breather->ran_ns = 0;
  breather->slice_ended_ns = now_ns;
}

void breather_resumed(struct breather *breather, uint64_t now_ns) {
  if (breather->running_since_ns == 0) breather->running_since_ns = now_ns;
}

uint64_t breather_due_ns(const struct breather *breather, uint64_t max_stopped_ns) {
  bool for_ever = max_stopped_ns == 0 || max_stopped_ns > UINT64_MAX - breather->slice_ended_ns;
  return for_ever ? UINT64_MAX : breather->slice_ended_ns + max_stopped_ns;
}

uint64_t breather_left_ns(const struct breather *breather) {
  return VLV_BREATHER_NS - breather->ran_ns;
}
