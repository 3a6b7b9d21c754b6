/* The mechanism of a GPU job: watches its ranks stop, and freezes the tree where they do not suffice. */
#include "valve/job.h"

#include <errno.h>
#include <stdlib.h>

#include "job_decision.h"
#include "job_ranks.h"
#include "words.h"

struct vlv_job {
  const struct vlv_node *node;
  struct vlv_freezer *freezer;
  uint64_t runner;
  VLV_ATOMIC(uint32_t) unshimmed;
  bool stopping;       /* a stop was asked for and no resume since */
  uint32_t generation; /* when it was asked for: what ranks have to acknowledge */
  uint64_t asked_ns;   /* ranks are waited for since then */
  enum job_freeze freeze;
  struct job_ranks ranks; /* as last looked at */
};

/* Looks at the ranks and says what that calls for. */
static struct job_decision look(struct vlv_job *job, uint64_t waited_ns) {
  job->ranks = job_ranks_read(job->node, job->runner, job->generation);
  struct job_seen seen = {.ranks = job->ranks.count,
                          .stopped = job->ranks.stopped,
                          .least_level = job->ranks.least_level,
                          .unshimmed = load32(&job->unshimmed),
                          .waited_ns = waited_ns,
                          .freeze = job->freeze};
  return job_decide(&seen);
}

static int freeze(struct vlv_job *job) {
  job->freeze = JOB_FREEZING;
  return vlv_freezer_mechanism()->stop(job->freezer);
}

/* Also called again after an error: of the freezer, for the ranks make none. */
static int job_stop(void *context) {
  struct vlv_job *job = context;
  job->generation = load32(&vlv_node_holders(job->node)->generation);
  if (!job->stopping) job->asked_ns = vlv_now_ns();
  job->stopping = true;
  return job->freeze == JOB_THAWED ? 0 : freeze(job);
}

/* > 0 if the tree is seen frozen, or need not be. */
static int confirm_freeze(struct vlv_job *job) {
  if (job->freeze != JOB_FREEZING) return 1;
  int level = vlv_freezer_mechanism()->confirm(job->freezer);
  if (level > 0) job->freeze = JOB_FROZEN;
  return level;
}

static int job_confirm(void *context) {
  struct vlv_job *job = context;
  int rc = confirm_freeze(job);
  if (rc <= 0) return rc;
  struct job_decision decision = look(job, vlv_now_ns() - job->asked_ns);
  if (decision.step == JOB_FREEZE) return freeze(job);
  return decision.step == JOB_ACKNOWLEDGE ? (int)decision.level : 0;
}

/* The ranks do the rest by themselves, once they run. */
static int job_resume(void *context) {
  struct vlv_job *job = context;
  int rc = job->freeze == JOB_THAWED ? 0 : vlv_freezer_mechanism()->resume(job->freezer);
  if (rc < 0) return rc;
  job->freeze = JOB_THAWED;
  job->stopping = false;
  return 0;
}

/* Whatever it finds has to be confirmed again. */
static int guard_frozen(struct vlv_job *job) {
  int resumed = vlv_freezer_mechanism()->guard(job->freezer);
  if (resumed != 0) job->freeze = JOB_FREEZING;
  return resumed;
}

/* A rank runs, has come since and is not stopped yet, or the last one is gone: all is to be confirmed anew,
 * with the whole of the time that ranks have. */
static int guard_ranks(struct vlv_job *job) {
  if (look(job, 0).step == JOB_ACKNOWLEDGE) return 0;
  job->asked_ns = vlv_now_ns();
  uint32_t running = job->ranks.count - job->ranks.stopped;
  return running > 0 ? (int)running : 1;
}

static int job_guard(void *context) {
  struct vlv_job *job = context;
  return job->freeze == JOB_THAWED ? guard_ranks(job) : guard_frozen(job);
}

static uint32_t job_id(void *context) {
  const struct vlv_job *job = context;
  bool by_ranks = job->freeze == JOB_THAWED && job->ranks.mechanism != VLV_MECHANISM_NONE;
  return by_ranks ? job->ranks.mechanism : vlv_freezer_mechanism()->id(job->freezer);
}

/* Of the whole tree where it is frozen, else those that compute on a GPU. */
static uint32_t job_processes(void *context) {
  const struct vlv_job *job = context;
  return job->freeze == JOB_THAWED ? job->ranks.count : vlv_freezer_mechanism()->processes(job->freezer);
}

/* A rank that has not acknowledged counts as one. */
static uint32_t job_unstopped_threads(void *context) {
  const struct vlv_job *job = context;
  if (job->freeze == JOB_THAWED) return job->ranks.count - job->ranks.stopped;
  return vlv_freezer_mechanism()->unstopped_threads(job->freezer);
}

const struct vlv_mechanism *vlv_job_mechanism(void) {
  static const struct vlv_mechanism mechanism = {
      .stop = job_stop,
      .confirm = job_confirm,
      .resume = job_resume,
      .guard = job_guard,
      .id = job_id,
      .processes = job_processes,
      .unstopped_threads = job_unstopped_threads,
  };
  return &mechanism;
}

int vlv_job_create(const struct vlv_node *node, struct vlv_freezer *freezer, pid_t runner,
                   struct vlv_job **out) {
  struct vlv_job *job = calloc(1, sizeof *job);
  if (job == NULL) return -ENOMEM;
  job->node = node;
  job->freezer = freezer;
  job->runner = (uint64_t)runner;
  *out = job;
  return 0;
}

void vlv_job_set_unshimmed(struct vlv_job *job, uint32_t processes) {
  store32(&job->unshimmed, processes);
}

void vlv_job_destroy(struct vlv_job *job) {
  free(job);
}
