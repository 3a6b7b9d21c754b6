#include "job_ranks.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>

#include "words.h"

/* A row is anybody's word, so its owner is asked for twice: the lock, and whether there is such a process (a
 * vfork child keeps its dead parent's lock until its exec). */
static bool is_alive(const struct vlv_node *node, uint32_t index, uint64_t pid) {
  if (pid <= 1 || pid > INT_MAX || vlv_tenant_alive(node, index) != 1) return false;
  return kill((pid_t)pid, 0) == 0 || errno == EPERM;
}

static bool is_rank(const struct vlv_node *node, uint32_t index, uint64_t runner) {
  const struct vlv_tenant_row *row = &vlv_node_tenants(node)->rows[index];
  uint64_t pid = load64(&row->owner_pid);
  return pid != 0 && load64(&row->runner_pid) == runner && is_alive(node, index, pid);
}

/* The level that it has acknowledged, RUNNING if it has not. The generation is read first: the level that is
 * read after it is then of that generation or of a later one (docs/protocol.md). */
static uint32_t acknowledged_level(const struct vlv_tenant_row *row, uint32_t generation) {
  if ((int32_t)(load32(&row->ack_generation) - generation) < 0) return VLV_LEVEL_RUNNING;
  if (load32(&row->state) != VLV_TENANT_STOPPED) return VLV_LEVEL_RUNNING;
  uint32_t level = load32(&row->ack_level);
  return level <= VLV_LEVEL_COMPUTE_HALTED ? level : VLV_LEVEL_RUNNING;
}

static void take_in_level(struct job_ranks *ranks, uint32_t level) {
  if (level == VLV_LEVEL_RUNNING) return;
  if (ranks->stopped == 0 || level < ranks->least_level) ranks->least_level = level;
  ranks->stopped++;
}

static void take_in_mechanism(struct job_ranks *ranks, uint32_t mechanism) {
  if (mechanism == VLV_MECHANISM_LAUNCH) ranks->mechanism = mechanism;
  if (mechanism == VLV_MECHANISM_CHANNELS && ranks->mechanism == VLV_MECHANISM_NONE)
    ranks->mechanism = mechanism;
}

struct job_ranks job_ranks_read(const struct vlv_node *node, uint64_t runner, uint32_t generation) {
  struct job_ranks ranks = {.mechanism = VLV_MECHANISM_NONE};
  for (uint32_t i = 0; i < VLV_TENANTS_MAX; i++) {
    if (!is_rank(node, i, runner)) continue;
    const struct vlv_tenant_row *row = &vlv_node_tenants(node)->rows[i];
    ranks.count++;
    take_in_level(&ranks, acknowledged_level(row, generation));
    take_in_mechanism(&ranks, load32(&row->mechanism));
  }
  return ranks;
}
