#include "job_decision.h"

/* The ranks alone have everything of this job that computes on a GPU, and all of it is stopped. */
static bool is_stopped_by_ranks(const struct job_seen *seen) {
  return seen->ranks > 0 && seen->stopped == seen->ranks && seen->unshimmed == 0;
}

/* Nothing is gained by waiting for the ranks any longer. */
static bool is_time_to_freeze(const struct job_seen *seen) {
  return seen->stopped == seen->ranks || seen->waited_ns >= VLV_JOB_ESCALATE_NS;
}

static struct job_decision acknowledge(uint32_t level) {
  return (struct job_decision){.step = JOB_ACKNOWLEDGE, .level = level};
}

/* A freeze stops submissions; what is on the GPU runs on, unless all ranks took it off before. */
static struct job_decision decide_frozen(const struct job_seen *seen) {
  return acknowledge(is_stopped_by_ranks(seen) ? seen->least_level : VLV_LEVEL_SUBMISSION_STOPPED);
}

static struct job_decision decide_thawed(const struct job_seen *seen) {
  if (is_stopped_by_ranks(seen)) return acknowledge(seen->least_level);
  return (struct job_decision){.step = is_time_to_freeze(seen) ? JOB_FREEZE : JOB_WAIT};
}

struct job_decision job_decide(const struct job_seen *seen) {
  if (seen->freeze == JOB_FROZEN) return decide_frozen(seen);
  if (seen->freeze == JOB_FREEZING) return (struct job_decision){.step = JOB_WAIT};
  return decide_thawed(seen);
}
